"""One migrated database per module is copied for each test: migrations take a second, a copy takes none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_collector.store.database import Store, open_store
from support.console import Bench, Clock, new_bench, new_store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("console")
    new_store(folder).close()
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    for name in ("collector.db", "keystore.db"):
        shutil.copy(template / name, tmp_path / name)
    opened = open_store(f"sqlite:///{tmp_path}/collector.db", f"sqlite:///{tmp_path}/keystore.db")
    yield opened
    opened.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    return new_bench(store, Clock())
