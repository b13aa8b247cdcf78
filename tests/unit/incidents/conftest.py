"""A school on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.detection import Bench
from support.stores import ENGINES, StoreUrls


@pytest.fixture(params=ENGINES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench.make(StoreUrls.of(request.param, tmp_path, request))
    yield made
    made.store.close()
