"""Wine with Windows' Python, once a run; without it these tests skip, or fail where the lab is required."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.lab.available import need
from support.lab.windows import TOOLS, Wine, build_windows, windows_folder


@pytest.fixture(scope="session")
def wine() -> Iterator[Wine]:
    need(tools=TOOLS, built=lambda: windows_folder().is_built, what="Windows' Python under Wine is")
    made = Wine(folder=build_windows())
    yield made
    made.end()
