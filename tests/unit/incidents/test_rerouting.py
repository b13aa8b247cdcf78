"""A person enters the register as staff after the item about them was opened: it moves to the head, on the record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.console.commands import pseudonym_of
from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.log import MACHINE, CaseLog
from schoolkeeper_collector.incidents.model import Audience, ObjectType, SubjectKind, Viewer
from schoolkeeper_collector.incidents.rerouting import reroute_all
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model
from support.alerts import alert_row
from support.detection import DSL, HEAD, NOON_MS, SCHOOL, Bench, refused, user
from support.school import School

DSL_VIEW = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)
HEAD_VIEW = Viewer(school_id=SCHOOL, account_id=HEAD, audience=Audience.HEAD)
RAISE = model.DecisionKind.BLOCK_AND_RAISE
LATER = NOON_MS + 60_000


def cases(bench: Bench) -> CaseFile:
    return CaseFile(bench.store, bench.rules, read_events=bench.read)


def rerouted(bench: Bench, now_ms: int = LATER) -> int:
    with bench.store.write() as connection:
        return reroute_all(connection, CaseLog(SCHOOL, bench.store.keystore), SCHOOL, "shell:priya", now_ms)


def seen(bench: Bench, viewer: Viewer) -> tuple[int, int]:
    file = cases(bench)
    return (
        len(file.alerts(viewer, state=None, now_ms=LATER)),
        len(file.incidents(viewer, now_ms=LATER)),
    )


def in_force(bench: Bench, kind: str) -> None:
    with bench.store.write() as connection:
        connection.execute(update(tables.people).values(kind=kind))


@pytest.mark.requirement("T-17")
def test_who_enters_the_register_as_staff_takes_open_items_to_the_head(bench: Bench) -> None:
    bench.event(bench.device(), refused(decision=RAISE), who=user("teacher"))
    bench.run()
    before = seen(bench, DSL_VIEW)
    assert min(before) > 0
    assert seen(bench, HEAD_VIEW) == (0, 0)
    queued = bench.number_of("ledger_queue")
    bench.person("teacher", "staff")
    assert rerouted(bench) == sum(before)
    assert seen(bench, DSL_VIEW) == (0, 0)
    assert seen(bench, HEAD_VIEW) == before
    assert bench.number_of("ledger_queue") >= queued + sum(before), "each move is committed"
    (incident,) = cases(bench).incidents(HEAD_VIEW, now_ms=LATER)
    assert incident.subject.kind is SubjectKind.STAFF
    last = cases(bench).incident(HEAD_VIEW, incident.incident_id, now_ms=LATER).entries[-1]
    assert (last.actor, last.action) == ("shell:priya", "rerouted")
    assert last.text is not None
    assert "no longer for 'dsl'" in last.text
    told = {row["account_id"] for row in bench.rows("notices") if row["sent_ms"] is None}
    assert told == {HEAD}, "the DSL is no longer told what was not sent yet"
    assert rerouted(bench) == 0, "once"


def test_an_alert_that_grows_looks_into_the_register_again(bench: Bench) -> None:
    device = bench.device()
    bench.event(device, refused(), who=user("teacher"))
    bench.run()
    (first,) = bench.rows("alerts")
    assert first["audience"] == "dsl"
    bench.person("teacher", "staff")
    bench.event(device, refused(), who=user("teacher"), at_ms=LATER)
    bench.run(LATER)
    (grown,) = bench.rows("alerts")
    assert (grown["findings"], grown["audience"], grown["subject_kind"]) == (2, "head", "staff")
    (entry,) = [row for row in bench.rows("case_entries") if row["object_type"] == ObjectType.ALERT.value]
    assert (entry["actor"], entry["action"]) == (MACHINE, "rerouted")


def test_an_incident_by_hand_moves_to_the_head_and_not_back(bench: Bench) -> None:
    who = bench.person("somebody", "pupil")
    file = cases(bench)
    file.raise_by_hand(
        DSL_VIEW, title="Seen in the corridor", category="other", severity=model.Severity.HIGH, text="x",
        subject_pseudonym=who.pseudonym, now_ms=NOON_MS,
    )  # fmt: skip
    assert rerouted(bench) == 0
    in_force(bench, "staff")
    assert rerouted(bench) == 1
    assert (seen(bench, DSL_VIEW)[1], seen(bench, HEAD_VIEW)[1]) == (0, 1)
    in_force(bench, "pupil")
    assert rerouted(bench) == 0
    assert (seen(bench, DSL_VIEW)[1], seen(bench, HEAD_VIEW)[1]) == (0, 1)


def test_an_alert_about_a_child_who_was_taken_for_staff_comes_to_the_dsl(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=bench.person("child", "staff"))
    bench.run()
    in_force(bench, "pupil")
    assert rerouted(bench) == 1
    assert (seen(bench, DSL_VIEW)[0], seen(bench, HEAD_VIEW)[0]) == (1, 0)


def test_the_import_of_the_register_moves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    school = School(tmp_path / "collector")
    who = pseudonym_of(school.keys.pseudonym_key, "teacher")
    row = alert_row(b"a" * 16, "Something happened", at_ms=NOON_MS, subject=who, kind="unknown")
    with school.store.write() as connection:
        connection.execute(insert(tables.alerts).values({**row, "school_id": school.school_id}))
    file = tmp_path / "people.csv"
    file.write_text("account_name,kind,display_name\nteacher,staff,A Teacher\n")
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    result = CliRunner().invoke(make_app(), ["people", "import", str(file)])
    assert result.exit_code == 0, result.output
    assert "1 open items" in result.output
    with school.store.read() as connection:
        assert connection.execute(select(tables.alerts.c.audience)).scalar_one() == "head"
        assert connection.execute(select(tables.case_entries.c.action)).scalar_one() == "rerouted"
    school.close()
