"""What holds for every test: demands that it proves, and nothing of one run left to the next.

Marks, time limit and import mode are set in the root's pyproject.toml.
"""

import gc
import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from support import faults, shared, warm
from support.order import longest_first
from support.requirements import Evidence, RequirementError, check_ids, load

if TYPE_CHECKING:
    from support.postgres import Postgres

ROOT = Path(__file__).resolve().parents[1]
PROVED = ROOT / ".cache" / "requirements-proved.json"
FAILED = ROOT / ".cache" / "failed.json"
EVIDENCE = pytest.StashKey[Evidence]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many random faults, and which."""
    faults.add_options(parser)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Seeds for fault tests: few in the fast suite, many in the long one."""
    faults.parametrise(metafunc)


def pytest_configure(config: pytest.Config) -> None:
    """Start with no evidence, and choose the seeds of a long run."""
    faults.choose()
    # A machine that is busy with other things makes no property untrue.
    settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("no clock")
    config.stash[EVIDENCE] = Evidence()
    if shared.PLACE not in os.environ:
        config.add_cleanup(shared.Run().end)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays to the end: the garbage collector need not look at it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check every `requirement` mark before the first test runs, and attach the ids to the test's reports.

    The slowest files come first.
    """
    longest_first(items, ROOT / "tests")
    known = load()
    mistakes = []
    for item in items:
        for mark in item.iter_markers("requirement"):
            try:
                ids = check_ids(mark.args, known, test=item.nodeid)
            except RequirementError as mistake:
                mistakes.append(str(mistake))
            else:
                item.user_properties.extend(("requirement", row) for row in ids)
    if mistakes:
        raise pytest.UsageError("\n".join(mistakes))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """After a scenario that passed, whoever uses its laptop can still work on it (see ``support/scenarios.py``)."""
    done = yield
    if pyfuncitem.get_closest_marker("scenario") is not None:
        from support.lab.usable import check_scenario

        check_scenario(pyfuncitem.funcargs)
    return done


@pytest.fixture(autouse=True, scope="session")
def _officers_remember_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What an officer's program remembers of a school never lands in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCHOOLKEEPER_OFFICER_HOME", str(tmp_path_factory.mktemp("officer-home")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _verifying_processes_are_warm() -> Iterator[None]:
    """The process that verifies for a device is forked from one that has its imports (see ``support/warm.py``)."""
    from schoolkeeper_agent import trust

    with pytest.MonkeyPatch.context() as patch:
        if not warm.COLD:
            patch.setattr(trust, "start_child", warm.verifying_child)
        yield


class _Recorder:
    """Hears the report of every phase of every test, also of those that another process ran."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a call's outcome, and a set-up or tear-down that did not pass."""
        ids = [str(value) for name, value in report.user_properties if name == "requirement"]
        if ids and (report.when == "call" or report.outcome != "passed"):
            self._evidence.note(ids, test=report.nodeid, outcome=report.outcome)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to reports; under xdist this happens in the process that gathers them, too."""
    session.config.pluginmanager.register(_Recorder(session.config.stash[EVIDENCE]), "requirement-recorder")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which demands this run proved, and keep the answer for `make requirements-table`; note what failed."""
    if os.environ.get("SCHOOLKEEPER_SECOND_LOOK"):
        return
    failed = [one.nodeid for kind in ("failed", "error") for one in terminalreporter.stats.get(kind, ())]
    FAILED.parent.mkdir(exist_ok=True)
    FAILED.write_text(json.dumps(list(dict.fromkeys(failed))), encoding="utf-8")
    evidence = config.stash[EVIDENCE]
    known = load()
    if evidence.outcomes:
        terminalreporter.section("requirements")
        for line in evidence.summary(known):
            terminalreporter.line(line)
    evidence.write(PROVED, known, whole_suite=not _narrowed(config))


def _narrowed(config: pytest.Config) -> bool:
    """Whether this run looked at less than the fast suite."""
    given = config.option
    settings = config.getini("addopts")
    other_marks = given.markexpr != settings[settings.index("-m") + 1]
    return bool(given.keyword or given.file_or_dir or given.collectonly or other_marks)


@pytest.fixture(scope="session")
def postgres() -> "Postgres":
    """One PostgreSQL server for the whole run; the processes of a run share it."""
    from support.postgres import shared_postgres  # here: tests without it do not wait for its imports

    return shared_postgres()


@pytest.fixture
def postgres_url(postgres: "Postgres") -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)
