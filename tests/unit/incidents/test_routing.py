"""Whom an item waits for, and that it does not exist for anybody else."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.cases import NoSuchItem
from schoolkeeper_collector.incidents.model import Audience, ObjectType, SubjectKind, Verdict, Viewer
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model
from support.detection import DSL, HEAD, NOON_MS, SCHOOL, TECH, Bench, account_row, pseudonym, refused, user

DSL_VIEW = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)
HEAD_VIEW = Viewer(school_id=SCHOOL, account_id=HEAD, audience=Audience.HEAD)
TECH_VIEW = Viewer(school_id=SCHOOL, account_id=TECH, audience=Audience.TECHNICIAN)
RAISE = model.DecisionKind.BLOCK_AND_RAISE


def cases(bench: Bench) -> CaseFile:
    return CaseFile(bench.store, bench.rules, read_events=bench.read)


def titles(bench: Bench, viewer: Viewer) -> list[str]:
    return [alert.title for alert in cases(bench).alerts(viewer, now_ms=NOON_MS)]


@pytest.mark.requirement("T-17")
def test_what_a_member_of_staff_did_waits_for_the_head_and_not_for_the_dsl(bench: Bench) -> None:
    bench.event(bench.device(), refused(decision=RAISE), who=bench.person("teacher", "staff"))
    bench.run()
    assert titles(bench, DSL_VIEW) == []
    assert titles(bench, TECH_VIEW) == []
    assert len(titles(bench, HEAD_VIEW)) == 2
    assert cases(bench).incidents(DSL_VIEW, now_ms=NOON_MS) == []
    (incident,) = cases(bench).incidents(HEAD_VIEW, now_ms=NOON_MS)
    assert incident.subject.label == "teacher"
    assert [row["account_id"] for row in bench.rows("notices")] == [HEAD]


def test_nobody_sees_or_hears_of_an_item_about_themselves(bench: Bench) -> None:
    with bench.store.write() as connection:
        connection.execute(insert(tables.accounts).values(account_row("acc-deputy", "head")))
    other = Viewer(school_id=SCHOOL, account_id="acc-deputy", audience=Audience.HEAD)
    bench.event(
        bench.device(), refused(decision=RAISE), who=bench.person("the head", "staff", account_id=HEAD)
    )
    bench.run()
    file = cases(bench)
    (incident,) = file.incidents(other, now_ms=NOON_MS)
    alert_id = file.alerts(other, now_ms=NOON_MS)[0].alert_id
    assert file.alerts(HEAD_VIEW, state=None, now_ms=NOON_MS) == []
    assert file.incidents(HEAD_VIEW, now_ms=NOON_MS) == []
    assert file.change_mark(HEAD_VIEW) == 0
    assert [row["account_id"] for row in bench.rows("notices")] == ["acc-deputy"]
    with pytest.raises(NoSuchItem):
        file.incident(HEAD_VIEW, incident.incident_id, now_ms=NOON_MS)
    with pytest.raises(NoSuchItem):
        file.alert(HEAD_VIEW, alert_id, now_ms=NOON_MS)
    with pytest.raises(NoSuchItem):
        file.give_verdict(HEAD_VIEW, alert_id, Verdict.FALSE_POSITIVE, now_ms=NOON_MS)
    with pytest.raises(NoSuchItem):
        file.add_note(HEAD_VIEW, ObjectType.INCIDENT, incident.incident_id, "x", now_ms=NOON_MS)
    with pytest.raises(NoSuchItem):
        file.undo_verdict(HEAD_VIEW, alert_id, now_ms=NOON_MS)


def test_a_shared_account_is_never_one_child(bench: Bench) -> None:
    bench.event(bench.device("ipad-7"), refused(), who=user("class", model.UserKind.SHARED))
    bench.run()
    (alert,) = cases(bench).alerts(DSL_VIEW, now_ms=NOON_MS)
    assert alert.subject.kind is SubjectKind.SHARED
    assert alert.subject.label == "a shared account on ipad-7"
    detail = cases(bench).alert(DSL_VIEW, alert.alert_id, now_ms=NOON_MS)
    assert any("not put down to one child" in line for line in detail.not_known)


def test_an_account_that_the_register_does_not_know_is_said_to_be_so(bench: Bench) -> None:
    bench.event(bench.device("l1"), refused(), who=user("new"))
    bench.run()
    (alert,) = cases(bench).alerts(DSL_VIEW, now_ms=NOON_MS)
    assert alert.subject.label == "an account on l1 that the register does not know"


@pytest.mark.parametrize(
    ("recipient", "audience"),
    [
        ("dsl", Audience.DSL),
        ("trusted-adult", Audience.DSL),
        ("head", Audience.HEAD),
        ("chair", Audience.CHAIR),
    ],
)
def test_a_report_reaches_whom_the_person_chose_and_always_interrupts(
    bench: Bench, recipient: str, audience: Audience
) -> None:
    pupil = bench.person("pupil", "pupil")
    device = bench.device()
    for _ in range(2):
        bench.event(device, model.PersonReport(recipient=recipient), who=pupil)
    bench.run()
    for viewer in (DSL_VIEW, HEAD_VIEW, TECH_VIEW):
        expected = 2 if viewer.audience is audience else 0
        assert len(cases(bench).incidents(viewer, now_ms=NOON_MS)) == expected
        assert len(titles(bench, viewer)) == expected
    assert bench.number_of("notices") == (0 if audience is Audience.CHAIR else 2), (
        "there is no chair here yet"
    )


def test_the_technician_sees_devices_and_no_person(bench: Bench) -> None:
    pupil = bench.person("Robin Example", "pupil")
    device = bench.device("l1")
    bench.event(device, model.LockFailed(session_id="3"), who=pupil)
    bench.event(device, refused(), who=pupil)
    bench.run()
    (alert,) = cases(bench).alerts(TECH_VIEW, now_ms=NOON_MS)
    shown = repr(cases(bench).alert(TECH_VIEW, alert.alert_id, now_ms=NOON_MS))
    assert "Robin" not in shown
    assert pseudonym("Robin Example").hex() not in shown
    assert "Tor" not in shown


def test_a_rule_for_technicians_may_not_read_what_people_did() -> None:
    from schoolkeeper_policies.detection.load import rules_of_texts
    from schoolkeeper_policies.problems import PolicyError

    text = """\
title: t
name: a.b
level: low
logsource: {product: schoolkeeper, category: application.refused}
detection: {selection: {rule.rule_id: x}, condition: selection}
schoolkeeper: {audience: technician, subject: user, category: x, headline: h, explanation: e}
"""
    with pytest.raises(PolicyError) as caught:
        rules_of_texts({"f.yaml": text})
    assert "may not read application.refused" in str(caught.value)
    assert "about a device, never about a person" in str(caught.value)
