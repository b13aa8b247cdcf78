"""Changes the decision engine in small ways and says which changes no test notices.

    make mutants                                       every module of the core
    python packaging/dev/mutate.py matching --limit 50 one module, a sample
    python packaging/dev/mutate.py --list              how many changes there are

Each mutant is one change of one operator, constant, comparison, condition, call or return. The module's own tests run
against it in a process of its own, forked from one that has collected them and changed there only: the tree is never
touched. What is changed outside of functions, and what survives, is tried once more as a copy of the package that comes
before the real one on the path. A mutant that no test notices survives: a test is missing, or the change makes no
difference. Those of the second sort are named in ``mutants_equivalent.toml``, each with the reason.

Exit status: 0 when every mutant is killed or named; 1 when one survives, or when a name is wrong: a test kills the
mutant after all, or there is no such mutant any more.
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
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.toml")
PROTO = "proto/src/schoolkeeper_proto"
POLICIES = "policies/src/schoolkeeper_policies"
SECONDS = 90
"""A mutant that takes longer hangs, and a test would have noticed."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the core and the tests that are about it."""

    path: str
    tests: tuple[str, ...]


_LONG = (
    "tests/unit/matching/test_matching.py::"
    "test_a_decision_does_not_depend_on_the_number_of_rules_that_do_not_concern_it"
)
_ENGINE = (
    "tests/unit/matching",
    "tests/property/policies/test_decision_properties.py",
    # It compiles thousands of rules: too long to do for each mutant.
    f"--deselect={_LONG}",
)
_GRANTING = (
    "tests/unit/grants/test_granting.py",
    "tests/unit/grants/test_granting_edges.py",
    "tests/unit/grants/test_console_edges.py",
    "tests/unit/grants/test_console_lessons.py",
    "tests/unit/grants/test_confining.py",
)
_GRANTED = (
    "tests/unit/grants/test_granted.py",
    "tests/property/test_granted.py",
    # 1,500 examples: half a minute for each mutant.
    "--deselect=tests/property/test_granted.py::test_what_loosens_never_tightens",
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
    "granting": Module(f"{PROTO}/granting.py", _GRANTING),
    "granted": Module(f"{PROTO}/granted.py", _GRANTED),
    "ranks": Module(f"{POLICIES}/comparing/ranks.py", ("tests/unit/policies/test_ranks.py", *_COMPARE)),
}
"""What decides on a device, who may loosen it, and the order by which a change counts as weaker."""
WIDER = {
    "regions": Module(f"{POLICIES}/comparing/regions.py", _COMPARE),
    "rules": Module(f"{POLICIES}/comparing/rules.py", _COMPARE),
    "sections": Module(f"{POLICIES}/comparing/sections.py", _COMPARE),
    "slots": Module(f"{POLICIES}/trying/slots.py", ("tests/unit/policies/test_backtest.py",)),
    "backtest": Module(f"{POLICIES}/trying/backtest.py", ("tests/unit/policies/test_backtest.py",)),
}
"""Tried by name only: what a plan says before anything is published."""
MODULES = CORE | WIDER
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """``text`` is the whole module with one change at ``line``: in ``within``, ``was`` became ``now``."""

    line: int
    what: str
    text: str
    within: str = ""
    was: str = ""
    now: str = ""

    @property
    def name(self) -> tuple[str, str, str]:
        """What tells it from others, wherever in the file its lines have moved."""
        return self.within, self.was, self.now


@dataclass(slots=True)
class Count:
    """What became of the mutants of one module."""

    tried: int = 0
    killed: int = 0
    equivalent: int = 0
    wrong: list[str] = field(default_factory=list)
    """Survivors without a name, and names that are none."""


def mutants(source: str) -> list[Mutant]:
    """Every single change, in the order of the lines."""
    tree = ast.parse(source)
    plain = ast.unparse(tree)
    silent = {id(part) for node in ast.walk(tree) for part in _silent(node)}
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in silent:
            continue
        for what, changed in _changes(node):
            made = copy.deepcopy(tree)
            at = next(one for place, one in enumerate(ast.walk(made)) if place == number)
            changed(at)
            text = ast.unparse(ast.fix_missing_locations(made))
            if text != plain:
                line = getattr(node, "lineno", 0)
                found.append(Mutant(line, what, text, _within(tree, line), *_differing(plain, text)))
    return sorted(found, key=lambda one: one.line)


def _silent(node: ast.AST) -> Iterator[ast.AST]:
    """What no test need say: ``frozen=True`` of a dataclass, and annotations."""
    kept: list[ast.AST | None] = []
    match node:
        case ast.ClassDef():
            kept = [*node.decorator_list]
        case ast.FunctionDef():
            kept = [node.returns]
        case ast.arg() | ast.AnnAssign():
            kept = [node.annotation]
        case _:
            pass
    for part in kept:
        if part is not None:
            yield from ast.walk(part)


def _within(tree: ast.Module, line: int) -> str:
    names = []
    node: ast.AST | None = tree
    while node is not None:
        node = next(
            (
                one
                for one in ast.iter_child_nodes(node)
                if isinstance(one, ast.ClassDef | ast.FunctionDef)
                and one.lineno <= line <= (one.end_lineno or 0)
            ),
            None,
        )
        if node is not None:
            names.append(node.name)
    return ".".join(names)


def _differing(plain: str, text: str) -> tuple[str, str]:
    """The first line that differs, before and after."""
    for was, now in zip(plain.splitlines(), text.splitlines(), strict=False):
        if was != now:
            return was.strip(), now.strip()
    return "", ""


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    yield from _of_expressions(node)
    yield from _of_statements(node)


def _of_expressions(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.Compare(ops=operators):
            for number, operator in enumerate(operators):
                if type(operator) in _COMPARISONS:
                    new = _COMPARISONS[type(operator)]
                    yield f"{type(operator).__name__} -> {new.__name__}", _reordered(number, new)
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _is_type(node):
            other = _OPERATORS[type(operator)]
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
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield f"{name} -> {_CALLS[name]}", lambda at: setattr(at.func, "id", _CALLS[name])
        case _:
            return


def _of_statements(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.If() | ast.IfExp() | ast.While():
            yield "condition is never true", lambda at: setattr(at, "test", ast.Constant(value=False))
        case ast.Return(value=ast.expr()):
            yield "returns None", lambda at: setattr(at, "value", ast.Constant(value=None))
        case ast.Expr(value=ast.Call()):
            yield "call dropped", lambda at: setattr(at, "value", ast.Constant(value=None))
        case _:
            return


def _reordered(number: int, new: type[ast.cmpop]) -> Callable[[Any], None]:
    return lambda at: at.ops.__setitem__(number, new())


def _is_type(node: ast.BinOp) -> bool:
    """``X | None`` in an alias makes no difference when it runs."""
    return isinstance(node.op, ast.BitOr) and any(
        isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _unnot(at: ast.UnaryOp) -> None:
    at.op = ast.UAdd()
    at.operand = ast.Call(func=ast.Name(id="bool", ctx=ast.Load()), args=[at.operand], keywords=[])


def survivors(module: Module, tried: list[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether the module's tests pass with it in its place; the quick way first."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os._exit(_collect_and_try(module, tried, write))
    os.close(write)
    with os.fdopen(read, "r") as answers, tempfile.TemporaryDirectory(prefix="sk-mutate-") as temporary:
        copied(module, Path(temporary))
        for line in answers:
            number, quick = (int(word) for word in line.split())
            yield tried[number], quick != KILLED and _survives_alone(module, tried[number], Path(temporary))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(f"{module.path}: its tests cannot be collected; run them alone to see why")


KILLED, PASSED = 1, 0


class _Trials:
    """A plugin of pytest: in place of running the tests once, a fork runs them for each mutant."""

    def __init__(self, module: Module, tried: list[Mutant], answers: int) -> None:
        self._name = ".".join(Path(module.path).with_suffix("").parts[2:])
        self._tried, self._answers = tried, answers

    def pytest_runtestloop(self, session: Any) -> bool:
        for number, mutant in enumerate(self._tried):
            result = PASSED
            if mutant.within:
                child = os.fork()
                if child == 0:
                    os._exit(self._try(session, mutant))
                result = KILLED if _ended(child) else PASSED
            os.write(self._answers, f"{number} {result}\n".encode())
        return True

    def _try(self, session: Any, mutant: Mutant) -> int:
        if not applied(sys.modules[self._name], mutant.text):
            return PASSED
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return KILLED
        return PASSED


def applied(module: Any, text: str) -> bool:
    """Gives the module's functions the code of the changed text, in place: whoever imported one has the changed one.

    False where it is another thing that changed; that takes a fresh import.
    """
    new = _functions(compile(text, module.__file__, "exec"))
    old = _functions(
        compile(ast.unparse(ast.parse(Path(module.__file__).read_text())), module.__file__, "exec")
    )
    changed = {name for name in new if new[name] != old.get(name)}
    if len(changed) != 1:
        return False
    (name,) = changed
    *classes, last = name.split(".")
    holder = module
    for one in classes:
        holder = getattr(holder, one)
    held = vars(holder)[last]
    held = getattr(held, "fget", None) or getattr(held, "__func__", held)
    held.__code__ = new[name]
    return True


def _functions(code: Any, prefix: str = "") -> dict[str, Any]:
    """The code of every function and method, by its name from the module on."""
    found = {}
    for one in code.co_consts:
        if hasattr(one, "co_code") and not one.co_name.startswith("<"):
            name = prefix + one.co_name
            if one.co_flags & _OPTIMIZED:
                found[name] = one
            else:
                found |= _functions(one, f"{name}.")
    return found


_OPTIMIZED = 1
"""Of a code object: it is a function's, not a class's."""


def _ended(child: int) -> int:
    """The exit status of a child, which is killed when it hangs."""
    until = time.monotonic() + SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.005)


def _collect_and_try(module: Module, tried: list[Mutant], answers: int) -> int:
    return _pytest(module, [_Trials(module, tried, answers)])


def _survives_alone(module: Module, mutant: Mutant, folder: Path) -> bool:
    (folder / Path(*Path(module.path).parts[2:])).write_text(mutant.text)
    child = os.fork()
    if child == 0:
        sys.path.insert(0, str(folder))
        os._exit(_pytest(module, []))
    return _ended(child) == 0


def _pytest(module: Module, plugins: list[object]) -> int:
    import hypothesis
    import pytest

    hypothesis.settings.register_profile("mutate", max_examples=25, deadline=None, database=None)
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    quick = ["-x", "-q", "-s", "--no-header", "--hypothesis-seed=1", "--hypothesis-profile=mutate"]
    with tempfile.TemporaryDirectory(prefix="sk-mutate-") as cache:
        return int(pytest.main([*quick, f"-ocache_dir={cache}", *module.tests], plugins=plugins))


def copied(module: Module, folder: Path) -> None:
    """The module's whole package, to stand before the real one."""
    package = Path(module.path).parts[2]
    source = ROOT / Path(*Path(module.path).parts[:3])
    shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))


def named(name: str) -> set[tuple[str, str, str]]:
    """The mutants of a module that are known to make no difference, as ``Mutant.name``."""
    held = tomllib.loads(EQUIVALENT.read_text()).get(name, [])
    return {(one["in"], one["was"], one["now"]) for one in held if one["why"]}


def run(name: str, limit: int) -> Count:
    """What became of the mutants of one module; what is wrong is printed as it is found."""
    module, equivalent, count = MODULES[name], named(name), Count()
    source = (ROOT / module.path).read_text()
    found = mutants(source)
    sample = sorted(
        random.Random(1).sample(found, min(limit or len(found), len(found))), key=lambda one: one.line
    )
    if not all(alive for _, alive in survivors(module, [Mutant(0, "nothing", source)])):
        raise SystemExit(f"{name}: its tests fail without any change; mend that first")
    for mutant, alive in survivors(module, sample):
        known = mutant.name in equivalent
        count.tried += 1
        count.killed += not alive
        count.equivalent += alive and known
        if alive is not known:
            said = "survives" if alive else "is killed, but named as equivalent:"
            count.wrong.append(_shown(f"{module.path}:{mutant.line}: {mutant.what} {said}", mutant.name))
            print(count.wrong[-1], flush=True)
    for gone in sorted(equivalent - {one.name for one in found}):
        count.wrong.append(_shown(f"{EQUIVALENT.name}: {name} has no such mutant", gone))
        print(count.wrong[-1], flush=True)
    print(_counted(name, count), flush=True)
    return count


def _shown(said: str, name: tuple[str, str, str]) -> str:
    within, was, now = name
    return f"{said}\n    in {within or 'the module'}\n    was  {was}\n    now  {now}"


def _counted(name: str, count: Count) -> str:
    ending = f"{len(count.wrong)} to mend" if count.wrong else "no survivors"
    return f"{name:<15} {count.tried:>4} mutants {count.killed:>4} killed {count.equivalent:>3} equivalent; {ending}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules",
        nargs="*",
        default=list(CORE),
        help=f"of: {', '.join(CORE)}; or, by name only: {', '.join(WIDER)}",
    )
    parser.add_argument(
        "--limit", type=int, default=0, help="a sample of so many mutants per module; 0 for all"
    )
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for name in options.modules:
            print(f"{name}: {len(mutants((ROOT / MODULES[name].path).read_text()))}")
        return 0
    # Every fork has them in memory already.
    for heavy in ("pytest", "hypothesis", "_pytest.assertion.rewrite"):
        importlib.import_module(heavy)
    counts = [run(name, options.limit) for name in options.modules]
    whole = Count(
        tried=sum(one.tried for one in counts),
        killed=sum(one.killed for one in counts),
        equivalent=sum(one.equivalent for one in counts),
        wrong=[said for one in counts for said in one.wrong],
    )
    print(_counted("together", whole))
    return 1 if whole.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
