"""A plugin for pytest on Windows' Python: fault tests take three seeds there."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", (1, 2, 3))
