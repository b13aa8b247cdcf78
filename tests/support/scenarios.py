"""The scenarios: a test that shows a whole story on a laptop of the lab, by name, and the page that lists them.

``@pytest.mark.scenario(tier="session", name="an idle screen locks")`` stands above a test that takes a laptop as a
fixture. Tier ``session`` is the nspawn laptop (logind, X, a locker), ``laptop`` the virtual one (USB, udev, disks).
When it has passed, whoever uses that laptop must still be able to work on it: ``tests/conftest.py`` asks
``support.lab.usable``. Names are read from the sources, so the page is the same on machines that cannot run them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "agent/docs/scenarios.md"
WRITE = "python tests/lab/write_scenarios.py"


class ScenarioError(Exception):
    """A mark that the page cannot list; the message names the place and the remedy."""


class Tier(StrEnum):
    SESSION = "session"
    LAPTOP = "laptop"


AT_LEAST = {Tier.SESSION: 15, Tier.LAPTOP: 25}
"""What the project promises of each tier."""
_HEADS = {
    Tier.SESSION: "In a session: real systemd, logind, D-Bus, PAM, X and a locker, in a container",
    Tier.LAPTOP: "On a virtual laptop: its own kernel, USB, udev, udisks2, dm-crypt, suspend and a power switch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``file`` is relative to the folder of the tests."""

    tier: Tier
    name: str
    file: str
    function: str


def read_all(tests: Path = TESTS) -> tuple[Scenario, ...]:
    """Every scenario, by tier and then by file, in the order of the source. Raises ``ScenarioError``."""
    found = [one for path in sorted(tests.rglob("test_*.py")) for one in _in(path, tests)]
    named: dict[str, Scenario] = {}
    for one in found:
        if one.name in named:
            other = named[one.name]
            raise ScenarioError(f"{one.file}: {one.name!r} is a scenario of {other.file}, too; rename one")
        named[one.name] = one
    return tuple(one for tier in Tier for one in found if one.tier is tier)


def page(found: tuple[Scenario, ...]) -> str:
    """The whole page."""
    lines = [_HEAD]
    for tier in Tier:
        ours = [one for one in found if one.tier is tier]
        lines += [f"## {_HEADS[tier]}", "", "| | scenario | test |", "|---|---|---|"]
        lines += [f"| {at} | {one.name} | `{one.file}`: `{one.function}` |" for at, one in enumerate(ours, 1)]
        lines.append("")
    return "\n".join(lines)


_HEAD = f"""# Scenarios, each a test on real parts of an operating system

Made by `{WRITE}` from the marks in the tests. `make test` runs those in a session where
`make lab` was run, `make laptop` those on a virtual laptop. Each ends with the same check: a person signs in at a
terminal with their password and types, gets their own screen back from its locker and types there, and a package is
installed and upgraded.
"""


def _in(path: Path, tests: Path) -> Iterator[Scenario]:
    text = path.read_text(encoding="utf-8")
    if "mark.scenario" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.scenario":
                    yield _scenario(mark, node.name, str(path.relative_to(tests)))


def _scenario(mark: ast.Call, function: str, file: str) -> Scenario:
    try:
        given = {str(word.arg): ast.literal_eval(word.value) for word in mark.keywords}
        if mark.args or set(given) != {"tier", "name"} or not given["name"]:
            raise ValueError(f"it has {sorted(given)}")
        return Scenario(tier=Tier(given["tier"]), name=given["name"], file=file, function=function)
    except ValueError as error:
        tiers = " or ".join(f'"{tier}"' for tier in Tier)
        raise ScenarioError(
            f'{file}:{mark.lineno}: {function}: write @pytest.mark.scenario(tier={tiers}, name="..."): {error}'
        ) from None
