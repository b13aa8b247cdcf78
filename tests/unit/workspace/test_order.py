"""The slowest files of the suite run first, and the list of them names files that exist."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from support.order import LONGEST, longest_first

TESTS = Path(__file__).parents[2]


def test_every_file_that_is_called_slow_exists() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_the_slowest_come_first_and_a_files_tests_keep_their_order() -> None:
    slowest, slow = LONGEST[0], LONGEST[1]
    given = [
        "unit/b.py::1",
        "unit/b.py::2",
        "e2e/test_x.py::1",
        f"{slow}::2",
        f"{slow}::1",
        f"{slowest}::1",
    ]
    items = [SimpleNamespace(path=TESTS / name.split("::")[0], name=name) for name in given]
    longest_first(cast(list[pytest.Item], items), TESTS)
    assert [one.name for one in items] == [*given[5:], *given[3:5], given[2], *given[:2]]
