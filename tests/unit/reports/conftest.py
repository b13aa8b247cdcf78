"""A whole school, with its keys, its log and its pack in force."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.school import School


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "school")
    yield made
    made.close()
