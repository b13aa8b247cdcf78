"""Changes the decision engine in small ways and says which changes no test notices.

    python packaging/dev/mutate.py                     every module of the core
    python packaging/dev/mutate.py matching --limit 50 one module, a sample
    python packaging/dev/mutate.py --list              what would be changed

Each mutant is one change of one operator, constant, comparison, condition or return. It lives in a copy of the module
in a folder of its own that comes before the real one on the path: the tree is never touched, and two runs do not meet.
The module's own tests run against it, in its own process. A mutant that no test notices survives: a test is missing, or
the change makes no difference. Exit status: 0, or 1 when the share of killed mutants is below ``--at-least``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROTO = "proto/src/schoolkeeper_proto"
POLICIES = "policies/src/schoolkeeper_policies"
SECONDS = 120


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the core and the tests that are about it."""

    path: str
    tests: tuple[str, ...]


_TIMED = (
    "tests/unit/matching/test_matching.py::"
    "test_a_decision_does_not_depend_on_the_number_of_rules_that_do_not_concern_it"
)
_ENGINE = (
    "tests/unit/matching/test_matching.py",
    "tests/unit/matching/test_media_matching.py",
    "tests/unit/matching/test_remembered.py",
    "tests/unit/matching/test_decide.py",
    "tests/property/policies/test_decision_properties.py",
    # It measures time, which a mutant rarely changes and a busy machine always does.
    f"--deselect={_TIMED}",
)
_COMPARE = (
    "tests/unit/policies/test_plan_compare.py",
    "tests/property/policies/test_plan_compare_properties.py",
)
CORE = {
    "matching": Module(f"{PROTO}/matching.py", _ENGINE),
    "media_matching": Module(f"{PROTO}/media_matching.py", _ENGINE),
    "site_matching": Module(f"{PROTO}/site_matching.py", _ENGINE),
    "conditions": Module(f"{PROTO}/conditions.py", _ENGINE),
    "patterns": Module(f"{PROTO}/patterns.py", _ENGINE),
    "decide": Module(f"{PROTO}/decide.py", _ENGINE),
    "ranks": Module(f"{POLICIES}/comparing/ranks.py", _COMPARE),
    "regions": Module(f"{POLICIES}/comparing/regions.py", _COMPARE),
    "rules": Module(f"{POLICIES}/comparing/rules.py", _COMPARE),
    "sections": Module(f"{POLICIES}/comparing/sections.py", _COMPARE),
    "slots": Module(f"{POLICIES}/trying/slots.py", ("tests/unit/policies/test_backtest.py",)),
    "backtest": Module(f"{POLICIES}/trying/backtest.py", ("tests/unit/policies/test_backtest.py",)),
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """``text`` is the whole module with one change at ``line``."""

    line: int
    what: str
    text: str


def mutants(source: str) -> list[Mutant]:
    """Every single change, in the order of the lines."""
    tree = ast.parse(source)
    found = []
    # ``frozen=True`` of a dataclass says what nobody does; no test need say it again.
    silent = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in _decorating(node)
    }
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in silent:
            continue
        for what, changed in _changes(node):
            made = copy.deepcopy(tree)
            at = next(one for place, one in enumerate(ast.walk(made)) if place == number)
            changed(at)
            text = ast.unparse(ast.fix_missing_locations(made))
            if text != ast.unparse(tree):
                found.append(Mutant(getattr(node, "lineno", 0), what, text))
    return sorted(found, key=lambda one: one.line)


def _decorating(node: ast.ClassDef) -> Iterator[ast.AST]:
    for decorator in node.decorator_list:
        yield from ast.walk(decorator)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            new = _COMPARISONS[type(operator)]
            yield f"{type(operator).__name__} -> {new.__name__}", lambda at: setattr(at, "ops", [new()])
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            other = _OPERATORS[type(operator)]
            if not _is_type(node):
                yield f"{type(operator).__name__} -> {other.__name__}", lambda at: setattr(at, "op", other())
        case ast.BoolOp(op=ast.And()):
            yield "and -> or", lambda at: setattr(at, "op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "or -> and", lambda at: setattr(at, "op", ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield "not dropped", _unnot
        case ast.Constant(value=bool() as value):
            yield f"{value} -> {not value}", lambda at: setattr(at, "value", not value)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield f"{value} -> {value + 1}", lambda at: setattr(at, "value", value + 1)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.If() | ast.IfExp() | ast.While():
            yield "condition is never true", lambda at: setattr(at, "test", ast.Constant(value=False))
        case ast.Return(value=ast.expr()):
            yield "returns None", lambda at: setattr(at, "value", ast.Constant(value=None))
        case _:
            return


def _is_type(node: ast.BinOp) -> bool:
    """``X | None`` in an annotation or an alias makes no difference when it runs."""
    return isinstance(node.op, ast.BitOr) and any(
        isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _unnot(at: ast.UnaryOp) -> None:
    at.op = ast.UAdd()
    at.operand = ast.Call(func=ast.Name(id="bool", ctx=ast.Load()), args=[at.operand], keywords=[])


def survives(module: Module, mutant: Mutant, folder: Path) -> bool:
    """Whether the module's tests pass with the mutant in its place.

    In a fork of this process, which has pytest and hypothesis in memory and nothing of the product: a mutant costs what
    its tests cost.
    """
    (folder / Path(*Path(module.path).parts[2:])).write_text(mutant.text)
    child = os.fork()
    if child == 0:
        os._exit(_tested(module, folder))
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _tested(module: Module, folder: Path) -> int:
    import hypothesis
    import pytest

    hypothesis.settings.register_profile("mutate", max_examples=60, deadline=None, database=None)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    quick = ["-x", "-q", "--no-header", "--hypothesis-seed=1", "--hypothesis-profile=mutate"]
    return int(pytest.main([*quick, *module.tests]))


def copied(module: Module, folder: Path) -> None:
    """The module's whole package, to stand before the real one."""
    package = Path(module.path).parts[2]
    source = ROOT / Path(*Path(module.path).parts[:3])
    shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))


def run(name: str, limit: int, seconds: float) -> tuple[int, int]:
    """(mutants tried, killed) of one module; the survivors are printed."""
    module = CORE[name]
    found = mutants((ROOT / module.path).read_text())
    sample = sorted(
        random.Random(1).sample(found, min(limit or len(found), len(found))), key=lambda one: one.line
    )
    tried = killed = 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="sk-mutate-") as temporary:
        folder = Path(temporary)
        copied(module, folder)
        original = Mutant(0, "nothing", (ROOT / module.path).read_text())
        if not survives(module, original, folder):
            raise SystemExit(f"{name}: its tests fail without any change; mend that first")
        for mutant in sample:
            if time.monotonic() > until:
                print(f"{name}: out of time after {tried} of {len(sample)} mutants")
                break
            tried += 1
            if survives(module, mutant, folder):
                print(f"survives  {module.path}:{mutant.line}: {mutant.what}", flush=True)
            else:
                killed += 1
    print(f"{name}: {killed} of {tried} killed ({len(found)} mutants there are)", flush=True)
    return tried, killed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=list(CORE), help=f"of: {', '.join(CORE)}")
    parser.add_argument(
        "--limit", type=int, default=0, help="a sample of so many mutants per module; 0 for all"
    )
    parser.add_argument("--seconds", type=float, default=3600.0, help="at most so long per module")
    parser.add_argument("--at-least", type=float, default=0.0, help="exit 1 below this share of killed ones")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for name in options.modules:
            print(f"{name}: {len(mutants((ROOT / CORE[name].path).read_text()))}")
        return 0
    # Every fork has them in memory already.
    for heavy in ("pytest", "hypothesis", "_pytest.assertion.rewrite"):
        importlib.import_module(heavy)
    results = [run(name, options.limit, options.seconds) for name in options.modules]
    tried, killed = sum(t for t, _ in results), sum(k for _, k in results)
    print(f"{killed} of {tried} mutants killed: {killed / max(1, tried):.1%}")
    return 0 if killed >= options.at_least * tried else 1


if __name__ == "__main__":
    sys.exit(main())
