"""The program that changes the decision engine to find tests that are missing; what it is told makes no difference."""

from __future__ import annotations

import ast
import importlib.util
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "packaging" / "dev" / "mutate.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = found
    spec.loader.exec_module(found)
    return found


SOURCE = textwrap.dedent(
    '''
    """A module."""
    LIMIT = 3

    class Box:
        def holds(self, number: int | None) -> bool:
            if number is None:
                return False
            return 0 < number <= LIMIT and any(part for part in (number,))
    '''
)


def test_every_small_change_is_made_once_and_named_by_its_lines(mutate: ModuleType) -> None:
    found = mutate.mutants(SOURCE)
    assert [(one.within, one.what) for one in found] == [
        ("", "3 -> 4"),
        ("Box.holds", "condition is never true"),
        ("Box.holds", "Is -> IsNot"),
        ("Box.holds", "returns None"),
        ("Box.holds", "False -> True"),
        ("Box.holds", "returns None"),
        ("Box.holds", "and -> or"),
        ("Box.holds", "Lt -> LtE"),
        ("Box.holds", "LtE -> Lt"),
        ("Box.holds", "any -> all"),
        ("Box.holds", "0 -> 1"),
    ]
    assert len({one.text for one in found}) == len(found)
    assert found[0].name == ("", "LIMIT = 3", "LIMIT = 4")
    assert found[1].name == ("Box.holds", "if number is None:", "if False:")


def test_a_change_is_given_to_whoever_imported_the_function_already(
    mutate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boxes_under_test.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import boxes_under_test  # type: ignore[import-not-found]

    imported = boxes_under_test.Box.holds
    assert [imported(None, number) for number in (0, 1, 3, 4)] == [False, True, True, False]
    (narrower,) = [one for one in mutate.mutants(SOURCE) if one.what == "LtE -> Lt"]
    assert mutate.applied(boxes_under_test, narrower.text)
    assert [imported(None, number) for number in (0, 1, 3, 4)] == [False, True, False, False]
    constant = mutate.mutants(SOURCE)[0]
    assert not mutate.applied(boxes_under_test, constant.text), "that takes a fresh import"


def test_what_makes_no_difference_is_a_line_of_today_and_has_its_reason(mutate: ModuleType) -> None:
    """Whether it really makes none, `make mutants` tries; here that a name does not outlive its line."""
    held = tomllib.loads(mutate.EQUIVALENT.read_text(encoding="utf-8"))
    assert set(held) <= set(mutate.CORE)
    for name, entries in held.items():
        plain = ast.unparse(ast.parse((ROOT / mutate.MODULES[name].path).read_text(encoding="utf-8")))
        lines = {line.strip() for line in plain.splitlines()}
        for one in entries:
            assert set(one) == {"in", "was", "now", "why"}
            assert one["was"] in lines, f"{name} has no line {one['was']!r} any more"
            assert len(one["why"]) > 20
        assert len(mutate.named(name)) == len(entries), "none is named twice"


def test_every_module_and_every_test_that_is_named_is_there(mutate: ModuleType) -> None:
    for module in mutate.MODULES.values():
        assert (ROOT / module.path).is_file()
        named = [one.removeprefix("--deselect=").partition("::")[0] for one in module.tests]
        assert [one for one in named if not (ROOT / one).exists()] == []
