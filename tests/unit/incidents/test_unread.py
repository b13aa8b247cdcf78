"""An item about the only head: the chair of governors reads it; without one it is said that nobody does."""

from __future__ import annotations

from sqlalchemy import delete, insert, update

from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import Audience, IncidentSummary, Viewer
from schoolkeeper_collector.incidents.rerouting import reroute_all
from schoolkeeper_collector.incidents.unread import unread, unread_fault
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model
from schoolkeeper_proto.model import Severity
from support.detection import DSL, HEAD, NOON_MS, SCHOOL, Bench, account_row, pseudonym, refused

CHAIR = "acc-chair"
HEAD_VIEW = Viewer(school_id=SCHOOL, account_id=HEAD, audience=Audience.HEAD)
CHAIR_VIEW = Viewer(school_id=SCHOOL, account_id=CHAIR, audience=Audience.CHAIR)


def about_the_head(bench: Bench) -> None:
    """The head tries to start something that a rule refuses."""
    bench.event(bench.device(), refused(), who=bench.person("head", "staff", HEAD))
    bench.run()


def appoint(bench: Bench, account: str, role: str) -> int:
    with bench.store.write() as connection:
        connection.execute(insert(tables.accounts).values(account_row(account, role)))
        return reroute_all(connection, CaseLog(SCHOOL, bench.store.keystore), SCHOOL, "shell", NOON_MS)


def counted(bench: Bench) -> dict[Audience, int]:
    with bench.store.read() as connection:
        return unread(connection, SCHOOL)


def raised_by_the_dsl(bench: Bench) -> IncidentSummary:
    file = CaseFile(bench.store, bench.rules, read_events=bench.read)
    return file.raise_by_hand(
        Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL),
        title="t",
        category="conduct",
        severity=Severity.HIGH,
        text="x",
        subject_pseudonym=pseudonym("head"),
        now_ms=NOON_MS,
    )


def test_without_a_chair_it_is_counted_and_said_and_the_head_never_sees_it(bench: Bench) -> None:
    assert counted(bench) == {}
    about_the_head(bench)
    assert raised_by_the_dsl(bench).audience is Audience.HEAD
    file = CaseFile(bench.store, bench.rules, read_events=bench.read)
    assert file.alerts(HEAD_VIEW, now_ms=NOON_MS) == []
    assert counted(bench) == {Audience.HEAD: 2}
    said = unread_fault(counted(bench))
    assert "2 items wait" in said
    assert "--role chair" in said
    assert "head" not in said.replace("ahead", ""), "it does not say about whom"


def test_a_chair_appointed_later_gets_what_waited_and_what_comes(bench: Bench) -> None:
    about_the_head(bench)
    assert appoint(bench, CHAIR, "chair") == 1
    assert counted(bench) == {}
    assert raised_by_the_dsl(bench).audience is Audience.CHAIR
    file = CaseFile(bench.store, bench.rules, read_events=bench.read)
    (alert,) = file.alerts(CHAIR_VIEW, now_ms=NOON_MS)
    (entry,) = file.alert(CHAIR_VIEW, alert.alert_id, now_ms=NOON_MS).entries
    assert (entry.action, "'chair'" in (entry.text or "")) == ("rerouted", True)
    assert file.alerts(HEAD_VIEW, now_ms=NOON_MS) == []
    assert any(row["account_id"] == CHAIR for row in bench.rows("notices"))


def test_a_second_head_reads_it_and_other_staff_stay_with_the_head(bench: Bench) -> None:
    about_the_head(bench)
    appoint(bench, "acc-second", "head")
    appoint(bench, CHAIR, "chair")
    assert counted(bench) == {}
    bench.event(1, refused(), who=bench.person("teacher", "staff"))
    bench.run()
    file = CaseFile(bench.store, bench.rules, read_events=bench.read)
    second = Viewer(school_id=SCHOOL, account_id="acc-second", audience=Audience.HEAD)
    assert len(file.alerts(second, now_ms=NOON_MS)) == 2
    assert len(file.alerts(HEAD_VIEW, now_ms=NOON_MS)) == 1
    assert file.alerts(CHAIR_VIEW, now_ms=NOON_MS) == []


def test_a_role_without_an_account_is_nobody(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=bench.person("pupil", "pupil"))
    bench.run()
    with bench.store.write() as connection:
        connection.execute(
            update(tables.accounts).where(tables.accounts.c.account_id == DSL).values(disabled_ms=NOON_MS)
        )
    assert counted(bench) == {Audience.DSL: 1}
    assert "--role dsl" in unread_fault(counted(bench))
    with bench.store.write() as connection:
        connection.execute(delete(tables.alerts))
    assert counted(bench) == {}


def test_a_report_to_the_chair_goes_there_where_there_is_one(bench: Bench) -> None:
    def report(to: str) -> model.Body:
        return model.PersonReport(recipient=to, category="other", urgent=False, reference="r", words=None)

    device = bench.device()
    bench.event(device, report("chair-of-governors"), who=bench.person("teacher", "staff"))
    bench.run()
    assert {row["audience"] for row in bench.rows("alerts")} == {"chair"}, "and not to the head instead"
    assert counted(bench) == {Audience.CHAIR: 2}
    appoint(bench, CHAIR, "chair")
    assert counted(bench) == {}
    assert (
        len(CaseFile(bench.store, bench.rules, read_events=bench.read).alerts(CHAIR_VIEW, now_ms=NOON_MS))
        == 1
    )
