"""The first set of rules in a whole school: what each makes of an event, for whom, and what is told at once."""

from __future__ import annotations

import pytest

from schoolkeeper_proto import model
from support.detection import DSL, NOON_MS, TECH, Bench, user

OFF_SITE, ON_SITE = model.Place.OFF_SITE, model.Place.ON_SITE
UNENCRYPTED = model.Posture(check="disk-encryption", result=model.PostureResult.FAIL)
MEDIUM = model.Medium(kernel_name="sdb")


@pytest.mark.requirement("T-12", "W-20")
@pytest.mark.parametrize(
    ("body", "place", "rule", "severity", "told"),
    [
        (model.AgentKilled(down_seconds=9), ON_SITE, "agent.killed", 2, []),
        (model.AgentTampered(what="unit"), ON_SITE, "agent.tampered", 4, [TECH]),
        (
            model.AgentRemoval(state="begun", by="command", reason="sold"),
            ON_SITE,
            "agent.removed",
            3,
            [TECH],
        ),
        (model.ClockChanged(step_milliseconds=-3_600_000), ON_SITE, "clock.backward", 3, []),
        (model.LockFailed(session_id="3"), ON_SITE, "screen.lock-failed", 3, []),
        (UNENCRYPTED, ON_SITE, "posture.disk-encryption", 4, []),
        (UNENCRYPTED, OFF_SITE, "posture.unencrypted-off-site", 5, [TECH]),
    ],
)
def test_what_is_wrong_with_a_device_waits_for_the_technician(
    bench: Bench, body: model.Body, place: model.Place, rule: str, severity: int, told: list[str]
) -> None:
    bench.event(bench.device(), body, place=place)
    bench.run()
    found = {str(row["rule_id"]): row for row in bench.rows("alerts")}
    assert (found[rule]["audience"], found[rule]["severity"]) == ("technician", severity)
    assert [row["account_id"] for row in bench.rows("notices")] == told
    assert bench.number_of("incidents") == (severity == 5)


@pytest.mark.parametrize(
    ("fact", "rule", "severity", "incidents"),
    [
        ("gap.opened", "log.gap", 2, 0),
        ("chain.broken", "log.chain-broken", 5, 1),
        ("conflict", "log.conflict", 5, 1),
        ("clone.seen", "device.clone", 4, 0),
        ("proof.failing", "log.proof-failing", 4, 0),
        ("frame.refused", "log.frame-refused", 3, 0),
        ("device.evicted", "log.evicted", 2, 0),
        ("ingest.key_missing", "ingest.key-missing", 4, 0),
        ("budget.exceeded", "device.budget-exceeded", 3, 0),
        ("ledger.history_lost", "log.history-lost", 5, 1),
    ],
)
def test_what_only_the_collector_can_see_is_alerted_on(
    bench: Bench, fact: str, rule: str, severity: int, incidents: int
) -> None:
    bench.fact(bench.device(), fact, key="9f3c")
    bench.run()
    (alert,) = bench.rows("alerts")
    assert (alert["rule_id"], alert["audience"], alert["severity"]) == (rule, "technician", severity)
    assert bench.number_of("incidents") == incidents


@pytest.mark.parametrize(
    ("began", "over", "rule"),
    [
        ("gap.opened", "gap.closed", "log.gap"),
        ("proof.failing", "proof.recovered", "log.proof-failing"),
        ("device.silent", "device.heard", "device.silent"),
    ],
)
def test_what_is_over_closes_for_its_own_device_only(bench: Bench, began: str, over: str, rule: str) -> None:
    one, other = bench.device("one"), bench.device("other")
    bench.fact(one, began)
    bench.fact(other, began)
    bench.fact(one, over)
    bench.run()
    states = {row["device_no"]: row["state"] for row in bench.rows("alerts") if row["rule_id"] == rule}
    assert states == {one: "closed", other: "open"}


@pytest.mark.requirement("T-17")
def test_the_agent_killed_three_times_in_a_day_is_for_the_dsl(bench: Bench) -> None:
    device = bench.device()
    for minute in range(3):
        bench.event(device, model.AgentKilled(down_seconds=3), at_ms=NOON_MS + minute * 60_000)
    bench.run()
    found = {str(row["rule_id"]): row for row in bench.rows("alerts")}
    assert found["agent.killed-repeatedly"]["audience"] == "dsl"
    assert found["agent.killed"]["findings"] == 3


def test_an_agent_that_is_removed_without_a_word_is_for_the_dsl(bench: Bench) -> None:
    bench.event(bench.device(), model.AgentRemoval(state="begun", by="package manager"), place=ON_SITE)
    bench.run()
    (alert,) = bench.rows("alerts")
    assert (alert["rule_id"], alert["audience"]) == ("agent.removed-unsaid", "dsl")


def test_events_that_matter_and_were_dropped_raise_an_incident(bench: Bench) -> None:
    bench.event(bench.device(), model.Evicted(lane="critical", events=4))
    bench.run()
    (incident,) = bench.rows("incidents")
    assert (incident["audience"], incident["category"]) == ("dsl", "lost-events")
    assert [row["account_id"] for row in bench.rows("notices")] == [DSL]


def test_one_refused_medium_is_the_rule_at_work_and_five_in_an_hour_are_an_alert(bench: Bench) -> None:
    device = bench.device()
    for minute in range(4):
        bench.event(
            device, model.MediumRefused(medium=MEDIUM), who=user("x"), at_ms=NOON_MS + minute * 60_000
        )
    bench.run()
    assert bench.rows("alerts") == []
    bench.event(device, model.MediumWriteRefused(medium=MEDIUM), who=user("x"), at_ms=NOON_MS + 300_000)
    bench.run()
    (alert,) = bench.rows("alerts")
    assert (alert["rule_id"], alert["audience"], alert["first_ms"]) == (
        "media.refused-repeatedly",
        "dsl",
        NOON_MS,
    )


def test_an_ordinary_day_alerts_nobody(bench: Bench) -> None:
    device = bench.device()
    ordinary: list[model.Body] = [
        model.Heartbeat(),
        model.SignedIn(session_id="1"),
        model.SessionLocked(session_id="1", verified=True),
        model.MediumAttached(medium=MEDIUM),
        model.MediumRefused(medium=MEDIUM),
        model.ClockChanged(step_milliseconds=900),
        model.Posture(check="updates", result=model.PostureResult.PASS),
        model.Posture(check="antivirus", result=model.PostureResult.UNKNOWN),
        model.Evicted(lane="bulk", events=30),
        model.AgentStarted(version="1"),
        model.AgentStopped(reason="shutdown"),
        model.AgentTampered(what="ledger proof", detail="proofs hold again; before: x"),
    ]
    for body in ordinary:
        bench.event(device, body, who=user("x"))
    bench.run()
    assert bench.rows("alerts") == []
