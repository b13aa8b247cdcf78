"""Databases for tests on either engine: `StoreUrls.of("sqlite" | "postgresql", tmp_path, request)`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrls:
    """Two empty databases, not yet migrated."""

    store: str
    keystore: str

    @classmethod
    def of(cls, engine: str, folder: Path, request: pytest.FixtureRequest) -> Self:
        """PostgreSQL comes from the `postgres` fixture, which skips with its reason where there is none."""
        if engine == "sqlite":
            return cls(store=f"sqlite:///{folder}/collector.db", keystore=f"sqlite:///{folder}/keystore.db")
        server = request.getfixturevalue("postgres")
        return cls(store=server.new_database(), keystore=server.new_database())
