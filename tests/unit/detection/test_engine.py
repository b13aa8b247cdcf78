"""The engine as a consumer: same events, same findings, whatever happens between."""

from __future__ import annotations

import dataclasses

import pytest

from schoolkeeper_collector.detection.engine import Budget
from schoolkeeper_policies.detection.ruleset import Detector
from schoolkeeper_policies.sigma.compile import Record
from schoolkeeper_proto import model
from support.detection import HOUR_MS, NOON_MS, Bench, refused, user
from support.stores import StoreUrls


def alerts(bench: Bench) -> dict[str, dict[str, object]]:
    return {str(row["rule_id"]): row for row in bench.rows("alerts")}


@pytest.mark.requirement("T-17")
def test_a_refused_attempt_becomes_an_alert_for_the_dsl(bench: Bench) -> None:
    device = bench.device()
    bench.event(device, refused(), who=bench.person("pupil", "pupil"))
    bench.run()
    row = alerts(bench)["bypass.refused"]
    assert (row["audience"], row["subject_kind"], row["state"]) == ("dsl", "pupil", "open")
    assert row["title"] == "Tor Browser was refused"
    assert bench.rows("incidents") == []


@pytest.mark.requirement("T-17")
def test_three_attempts_in_a_day_raise_one_incident_and_tell_the_dsl(bench: Bench) -> None:
    device, pupil = bench.device(), bench.person("pupil", "pupil")
    for hour in range(4):
        bench.event(device, refused(), who=pupil, at_ms=NOON_MS + hour * HOUR_MS)
    bench.run(NOON_MS + 5 * HOUR_MS)
    assert alerts(bench)["bypass.refused"]["findings"] == 4
    (incident,) = bench.rows("incidents")
    assert (incident["category"], incident["number"], incident["audience"]) == ("filter-bypass", 1, "dsl")
    assert [(row["account_id"], row["object_type"]) for row in bench.rows("notices")] == [
        ("acc-dsl", "incident")
    ]


def test_an_event_of_a_kind_that_no_rule_wants_is_never_decoded(bench: Bench) -> None:
    device = bench.device()
    for _ in range(50):
        number = bench.event(device, model.Heartbeat())
        del bench.held[number]  # reading it would raise
    bench.run()
    assert bench.number_of("findings") == 0
    assert {row["source"]: row["position"] for row in bench.rows("detection_cursors")}["events"] == number


def test_what_came_in_late_is_marked_and_still_interrupts(bench: Bench) -> None:
    device = bench.device()
    body = refused("demo.program", model.DecisionKind.BLOCK_AND_RAISE)
    bench.event(device, body, who=user("x"), received_ms=NOON_MS + 60 * 24 * HOUR_MS)
    bench.run(NOON_MS + 60 * 24 * HOUR_MS)
    row = alerts(bench)["policy.block-and-raise"]
    assert row["late"]
    assert (row["first_ms"], row["last_ms"]) == (NOON_MS, NOON_MS)
    assert bench.number_of("incidents") == 1
    assert bench.number_of("notices") == 1


def test_late_events_count_when_they_happened(bench: Bench) -> None:
    device = bench.device()
    back = NOON_MS + 60 * 24 * HOUR_MS
    for day in range(3):
        bench.event(device, refused(), who=user("x"), at_ms=NOON_MS + day * 25 * HOUR_MS, received_ms=back)
    bench.run(back)
    assert "bypass.repeated" not in alerts(bench), "three attempts on three days arrived in one minute"
    bench.event(device, refused(), who=user("x"), at_ms=NOON_MS + HOUR_MS, received_ms=back)
    bench.event(device, refused(), who=user("x"), at_ms=NOON_MS + 2 * HOUR_MS, received_ms=back)
    bench.run(back)
    assert alerts(bench)["bypass.repeated"]["late"]


def test_a_clock_that_runs_ahead_cannot_put_an_event_into_the_future(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=user("x"), at_ms=NOON_MS + 900 * HOUR_MS, received_ms=NOON_MS)
    bench.run()
    assert alerts(bench)["bypass.refused"]["last_ms"] == NOON_MS


def fill(bench: Bench) -> None:
    """Events, facts, correlations, recoveries, one incident."""
    devices = [bench.device(name) for name in "abc"]
    for number in range(12):
        device = devices[number % 3]
        at = NOON_MS + number * 60_000
        bench.event(device, refused(), who=user("pq"[number % 2]), at_ms=at)
        bench.event(device, model.Heartbeat(), at_ms=at)
        bench.event(
            device, model.MediumWriteRefused(medium=model.Medium(kernel_name="sdb")), who=user("p"), at_ms=at
        )
        result = model.PostureResult.FAIL if number % 4 else model.PostureResult.PASS
        bench.event(device, model.Posture(check="antivirus", result=result), at_ms=at)
        bench.fact(device, "gap.opened", at)
    bench.event(devices[0], refused(decision=model.DecisionKind.BLOCK_AND_RAISE), who=user("p"))


def outcome(bench: Bench) -> dict[str, object]:
    """Everything that detection decided, without the numbers of keys and the bytes of ciphertexts."""
    volatile = {"key_id", "ciphertext", "commitment", "entry", "notice_no"}
    return {
        table: [{k: v for k, v in row.items() if k not in volatile} for row in bench.rows(table)]
        for table in ("findings", "alerts", "incidents", "case_entries", "notices", "ledger_queue")
    }


def step_and_crash(bench: Bench, budget: Budget) -> None:
    with bench.store.write() as connection:
        bench.detection(budget).step(connection, NOON_MS)
        raise ZeroDivisionError


def test_a_restart_at_every_point_finds_the_same(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other")
    other = Bench.make(StoreUrls(store=f"sqlite:///{folder}/c.db", keystore=f"sqlite:///{folder}/k.db"))
    fill(bench)
    fill(other)
    other.run()
    one = Budget(events=3, facts=2, seconds=0)
    for _ in range(1_000):
        # A step that is lost with a crash changes nothing; the next engine does it again.
        with pytest.raises(ZeroDivisionError):
            step_and_crash(bench, one)
        with bench.store.write() as connection:
            if not bench.detection(one).step(connection, NOON_MS):
                break
    # Facts and events take turns differently; what was decided is the same, to the byte.
    ours, theirs = outcome(bench), outcome(other)
    for table in ("findings", "alerts", "incidents", "notices"):
        assert ours[table] == theirs[table], table


def broken(record: Record) -> bool:
    raise RuntimeError("cannot look at this")


def test_a_rule_that_raises_is_disabled_and_shown_and_the_others_go_on(bench: Bench) -> None:
    (first, *rest) = bench.rules.by_kind["application.refused"]
    bad: Detector = dataclasses.replace(first, matches=broken)
    by_kind = {**bench.rules.by_kind, "application.refused": (bad, *rest)}
    bench.rules = dataclasses.replace(bench.rules, by_kind=by_kind)
    device = bench.device()
    for _ in range(2):
        bench.event(device, refused(decision=model.DecisionKind.BLOCK_AND_RAISE), who=user("x"))
        bench.run()
    assert "policy.block-and-raise" in alerts(bench)
    (state,) = bench.rows("rule_states")
    assert state["rule_id"] == first.rule.rule_id
    assert state["disabled_because"] == "RuntimeError: cannot look at this"
    shown = alerts(bench)["rule.disabled"]
    assert (shown["audience"], shown["findings"]) == ("technician", 1)
    assert shown["title"] == f"The detection rule {first.rule.rule_id} was disabled after an error"


def test_an_event_that_cannot_be_read_is_told_and_stops_nothing(bench: Bench) -> None:
    device = bench.device()
    numbers = [bench.event(device, refused(), who=user("x")) for _ in range(3)]
    held = bench.held.pop(numbers[1])
    bench.read = lambda *a: [bench.held[n] for n in a[2] if n in bench.held]  # type: ignore[method-assign]
    bench.run()
    found = alerts(bench)
    assert found["bypass.refused"]["findings"] == 2
    assert found["store.event-unreadable"]["findings"] == 1
    assert found["store.event-unreadable"]["audience"] == "technician"
    assert held.event_no == numbers[1]


def test_one_step_does_a_bounded_amount_of_work(bench: Bench) -> None:
    device = bench.device()
    for _ in range(5):
        bench.event(device, refused(), who=user("x"))
    with bench.store.write() as connection:
        bench.detection(Budget(events=2, seconds=60)).step(connection, NOON_MS)
    assert bench.number_of("findings") == 2


def test_a_step_ends_when_its_time_is_up_and_goes_on_where_it_stood(bench: Bench) -> None:
    device = bench.device()
    for _ in range(5):
        bench.event(device, refused(), who=user("x"))
    for expected in (1, 2, 3):
        with bench.store.write() as connection:
            bench.detection(Budget(seconds=0)).step(connection, NOON_MS)
        assert alerts(bench)["bypass.refused"]["findings"] == expected
    bench.run()
    assert alerts(bench)["bypass.refused"]["findings"] == 5


def test_an_alert_closes_by_itself_when_it_is_over(bench: Bench) -> None:
    device = bench.device()
    bench.event(device, model.Posture(check="updates", result=model.PostureResult.FAIL))
    bench.run()
    assert alerts(bench)["posture.updates"]["audience"] == "technician"
    bench.event(device, model.Posture(check="antivirus", result=model.PostureResult.PASS))
    bench.event(device, model.Posture(check="updates", result=model.PostureResult.UNKNOWN))
    bench.run()
    assert alerts(bench)["posture.updates"]["state"] == "open"
    bench.event(device, model.Posture(check="updates", result=model.PostureResult.PASS))
    bench.run()
    row = alerts(bench)["posture.updates"]
    assert (row["state"], row["verdict"], row["verdict_by"]) == ("closed", "recovered", "schoolkeeper")


def test_after_it_closed_the_next_finding_opens_a_new_alert(bench: Bench) -> None:
    device = bench.device()
    for result in (model.PostureResult.FAIL, model.PostureResult.PASS, model.PostureResult.FAIL):
        bench.event(device, model.Posture(check="updates", result=result))
    bench.run()
    assert sorted(str(row["state"]) for row in bench.rows("alerts")) == ["closed", "open"]
