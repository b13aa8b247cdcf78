"""Fault tests with a random seed: few in the fast suite, many by `make chaos`, one by its seed to see a failure again.

``@pytest.mark.seeds(short=3, long=100)`` on a test with an argument ``seed`` runs it with the seeds 0, 1, 2 in the fast
suite and with a hundred random ones under `make chaos`. The seed stands in the test's name. What a seed cannot fix is
the machine's own timing.
"""

from __future__ import annotations

import os
import random

import pytest

_BASE = "SCHOOLKEEPER_FAULT_BASE"


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "fault tests with random seeds")
    group.addoption(
        "--fault-rounds",
        type=int,
        default=None,
        metavar="N",
        help="so many seeds for each fault test under `make chaos` (each test has its own default)",
    )
    group.addoption(
        "--fault-seed",
        type=int,
        default=None,
        metavar="SEED",
        help="run fault tests with this seed alone, to see a failure again",
    )


def choose() -> None:
    """Chooses the run's seeds once, before xdist starts its processes: they inherit the environment and must agree."""
    os.environ.setdefault(_BASE, str(random.SystemRandom().randrange(1 << 32)))


def is_long(config: pytest.Config) -> bool:
    """Whether this run is the long one."""
    return "chaos" in config.option.markexpr and "not chaos" not in config.option.markexpr


def seeds_of(config: pytest.Config, name: str, short: int, long: int) -> list[int]:
    """Which seeds a test of that name runs with now."""
    one = config.getoption("--fault-seed")
    if one is not None:
        return [one]
    if not is_long(config):
        return list(range(short))
    rounds = config.getoption("--fault-rounds")
    chance = random.Random(f"{os.environ[_BASE]} {name}")
    return [chance.randrange(1 << 32) for _ in range(long if rounds is None else rounds)]


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Gives ``seed`` its values; raises ``UsageError`` for a mark that says nothing."""
    mark = metafunc.definition.get_closest_marker("seeds")
    if mark is None:
        return
    if set(mark.kwargs) != {"short", "long"} or mark.args:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: write seeds(short=..., long=...)")
    config = metafunc.config
    marks = [pytest.mark.chaos] if is_long(config) else []
    seeds = seeds_of(config, metafunc.definition.nodeid, **mark.kwargs)
    metafunc.parametrize("seed", [pytest.param(s, marks=marks, id=f"seed-{s}") for s in seeds])
