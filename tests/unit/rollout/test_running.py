"""The collector's steps of a rollout, against a whole school: measured from the store, told to devices by the stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from schoolkeeper_collector.rollout import gate, state
from schoolkeeper_collector.rollout.gate import Standing, State
from schoolkeeper_collector.rollout.rings import RingsError, parse_rings
from schoolkeeper_collector.rollout.running import Rollouts, by_hand
from schoolkeeper_collector.store.tables import collector_facts, devices
from schoolkeeper_proto import policy
from support.rollouts import add_device, add_events, publish_rollout
from support.school import DAY_MS, GROUP, HOUR_MS, School

PILOTS = tuple(bytes([n]) * 16 for n in range(1, 4))
OTHERS = tuple(bytes([n]) * 16 for n in range(11, 16))
RINGS = (
    policy.RolloutRing(name="pilot", device_ids=PILOTS),
    policy.RolloutRing(name="all", per_mille=1000),
)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "school")
    yield made
    made.close()


class Running:
    def __init__(self, school: School, terms: policy.RolloutTerms) -> None:
        self.school = school
        self.now_ms = school.made_ms + HOUR_MS
        held = school.repository.current().bundles[GROUP]
        with school.store.write() as connection:
            for number, device_id in enumerate((*PILOTS, *OTHERS)):
                add_device(
                    connection, school, device_id, f"laptop-{number}",
                    last_contact_ms=self.now_ms, bundle=(held[0], 1, school.made_ms),
                )  # fmt: skip
        self.plan = publish_rollout(school, RINGS, terms)
        self.rollouts = Rollouts(
            school.store, school.repository, school.school_id, school.keys.online, school.folder
        )

    def step(self, later_ms: int = 0) -> state.Standing:
        self.now_ms += later_ms
        self.rollouts._measured_ms.clear()
        self.rollouts.step(self.now_ms)
        return self.standing

    @property
    def standing(self) -> state.Standing:
        with self.school.store.read() as connection:
            return state.held(connection, self.school.school_id)[self.plan.rollout_id]

    @property
    def told(self) -> policy.GroupStage:
        stage = self.school.repository.current().stage
        assert stage is not None
        return stage.groups[0]

    def heard(self, ids: tuple[bytes, ...], *, applied: bool, since_ms: int = 0) -> None:
        values: dict[str, object] = {"last_contact_ms": self.now_ms}
        if applied:
            values |= {"bundle_hash": self.plan.to_bundle_hash, "bundle_version": 2}
            values["bundle_since_ms"] = since_ms or self.now_ms
        self.write(lambda c: c.execute(update(devices).where(devices.c.device_id.in_(ids)).values(**values)))

    def write(self, work: Callable[[Connection], object]) -> None:
        with self.school.store.write() as connection:
            work(connection)

    def number(self, device_id: bytes) -> int:
        with self.school.store.read() as connection:
            query = select(devices.c.device_no).where(devices.c.device_id == device_id)
            return connection.execute(query).scalar_one()

    def standings(self, ring: int) -> set[Standing]:
        with self.school.store.read() as connection:
            (view,) = self.rollouts.views(connection, self.now_ms)
        return set(view.rings[ring].standings)


@pytest.fixture
def running(school: School) -> Running:
    return Running(school, policy.RolloutTerms(soak_seconds=3_600, in_lessons_because="test"))


def test_rings_open_one_after_the_other_when_what_was_measured_is_fine(running: Running) -> None:
    assert running.step().open_rings == 1
    assert (running.told.open_rings, running.told.paused) == (1, False)
    assert running.step(HOUR_MS).open_rings == 1, "nobody has it yet"
    running.heard(PILOTS, applied=True)
    assert running.step(HOUR_MS // 2).open_rings == 1, "it soaks"
    running.heard(PILOTS, applied=False)
    assert running.step(HOUR_MS).open_rings == 1, "not heard of after the soak time"
    running.heard(PILOTS, applied=False)
    assert running.step().open_rings == 2
    assert running.told.open_rings == 2
    since = running.now_ms
    running.now_ms += 2 * HOUR_MS
    running.heard(OTHERS, applied=True, since_ms=since)
    assert running.step().state is State.DONE


def test_silent_devices_keep_the_gate_shut_and_are_named_as_such(running: Running) -> None:
    running.step()
    running.heard(PILOTS, applied=True)
    running.now_ms += 2 * HOUR_MS
    running.heard(PILOTS, applied=False)
    running.now_ms += 25 * HOUR_MS
    assert running.step().open_rings == 1
    assert running.standings(0) == {Standing.STALE}


def test_refusals_over_the_forecast_halt_it_alert_and_nobody_new_takes_it(school: School) -> None:
    terms = policy.RolloutTerms(
        soak_seconds=3_600, refusals_per_1000_device_days=500, in_lessons_because="test"
    )
    running = Running(school, terms)
    running.step()
    running.heard(PILOTS, applied=True)
    number = running.number(PILOTS[0])
    # 3 devices, 0.5 a day each: 1.5 expected, at most 6 + 3.
    running.write(lambda c: add_events(c, school, number, "application.refused", 9, running.now_ms))
    assert running.step(HOUR_MS // 4).state is State.RUNNING
    running.write(lambda c: add_events(c, school, number, "application.refused", 1, running.now_ms))
    halted = running.step(HOUR_MS // 4)
    assert halted.state is State.HALTED
    assert "10 refusals on 1 device; at most 9" in halted.reason
    assert (running.told.open_rings, running.told.paused) == (1, True)
    with school.store.read() as connection:
        kinds = connection.execute(select(collector_facts.c.kind)).scalars().all()
    assert kinds == ["rollout.halted"]
    assert running.step(DAY_MS).state is State.HALTED, "it never goes on by itself"

    # Somebody looked, and resumes: the old refusals are not held against it again.
    by_hand(
        school.store, running.rollouts, GROUP, "resume", actor="technician", reason="one broken shortcut",
        now_ms=running.now_ms,
    )  # fmt: skip
    assert running.told.paused is False
    assert running.step(HOUR_MS // 4).state is State.RUNNING
    with school.store.read() as connection:
        log = state.log_of(connection, school.school_id, running.plan.rollout_id)
    assert [(e.actor, e.action) for e in log] == [
        ("technician", "resumed"), ("gate", "halted"), ("gate", "opened"),
    ]  # fmt: skip


def test_without_a_forecast_the_devices_own_last_week_counts(running: Running) -> None:
    """Twenty refusals a day before are no sign of a bad policy afterwards; a hundred are."""
    number = running.number(PILOTS[0])
    running.step()
    for day in range(1, 7):
        at = running.now_ms - day * DAY_MS
        running.write(lambda c, at=at: add_events(c, running.school, number, "media.refused", 20, at))
    running.heard(PILOTS, applied=True)
    running.write(lambda c: add_events(c, running.school, number, "media.refused", 20, running.now_ms + 1))
    assert running.step(1000).state is State.RUNNING
    running.write(lambda c: add_events(c, running.school, number, "media.refused", 80, running.now_ms))
    assert running.step(1000).state is State.HALTED


def test_the_first_minutes_of_a_young_school_are_no_measure_of_its_days(running: Running) -> None:
    """One kill within five minutes of enrolling is one in that day, and not three hundred."""
    number = running.number(PILOTS[0])
    running.step()
    young = {"enrolled_ms": running.now_ms - 5 * 60_000}
    running.write(lambda c: c.execute(update(devices).where(devices.c.device_id.in_(PILOTS)).values(**young)))
    running.write(lambda c: add_events(c, running.school, number, "agent.killed", 1, running.now_ms - 60_000))
    running.heard(PILOTS, applied=True)
    running.write(lambda c: add_events(c, running.school, number, "agent.killed", 9, running.now_ms + 1))
    assert running.step(1000).state is State.HALTED


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("agent.killed", 2, "killed"),
        ("agent.started", 40, "starts"),
        ("sensor.failed", 3, "errors"),
        ("exception.requested", 3, "requests for help"),
    ],
)
def test_every_other_sign_halts_it_too(running: Running, kind: str, count: int, words: str) -> None:
    running.step()
    running.heard(PILOTS, applied=True)
    number = running.number(PILOTS[1])
    running.write(lambda c: add_events(c, running.school, number, kind, count, running.now_ms))
    halted = running.step(1000)
    assert halted.state is State.HALTED
    assert words in halted.reason


def test_people_reports_are_not_counted_in_a_small_ring(running: Running) -> None:
    """A number of three devices would point at a child."""
    running.step()
    running.heard(PILOTS, applied=True)
    number = running.number(PILOTS[1])
    running.write(lambda c: add_events(c, running.school, number, "person.report", 30, running.now_ms))
    assert running.step(1000).state is State.RUNNING


def test_a_device_that_refuses_the_policy_halts_a_small_ring(running: Running) -> None:
    running.step()
    number = running.number(PILOTS[2])
    running.write(lambda c: add_events(c, running.school, number, "policy.refused", 1, running.now_ms + 1))
    halted = running.step(1000)
    assert halted.state is State.HALTED
    assert "refuse the policy" in halted.reason


def test_rings_wait_for_the_end_of_lessons(school: School) -> None:
    """The default pack's hours, on a Monday in term."""
    running = Running(school, policy.RolloutTerms(soak_seconds=3_600))
    monday_10 = 1_795_428_000_000
    assert running.rollouts.step(monday_10) is None
    assert running.standing.open_rings == 0
    with school.store.read() as connection:
        (view,) = running.rollouts.views(connection, monday_10)
    assert isinstance(view.next, gate.Wait)
    assert "outside of lessons" in view.next.because
    running.rollouts._measured_ms.clear()
    running.rollouts.step(monday_10 + 8 * HOUR_MS)
    assert running.standing.open_rings == 1


def test_pause_open_and_halt_by_hand(running: Running) -> None:
    def act(action: str) -> state.Standing:
        return by_hand(
            running.school.store, running.rollouts, GROUP, action, actor="t", reason="r",
            now_ms=running.now_ms,
        )  # fmt: skip

    running.step()
    assert act("pause").state is State.PAUSED
    assert running.told.paused
    with pytest.raises(state.RolloutError, match="is paused already"):
        act("pause")
    with pytest.raises(state.RolloutError, match=rf"is paused \(r\).*rollout resume {GROUP} --reason"):
        act("open")
    assert act("resume").state is State.RUNNING
    assert act("open").open_rings == 2
    assert not running.told.paused
    with pytest.raises(state.RolloutError, match="every ring"):
        act("open")
    assert act("halt").state is State.HALTED
    with pytest.raises(state.RolloutError, match="is halted"):
        act("open")
    assert running.standing.state is State.HALTED
    with pytest.raises(state.RolloutError, match="no rollout of the group"):
        by_hand(running.school.store, running.rollouts, "nobody", "pause", actor="t", reason="r", now_ms=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither"),
        ("10%", "must be 'all'"),
        ("50%,10%,all", "does not widen"),
        ("0%,all", "no share"),
        ("pilot,all", "neither a .csv file"),
        ("10%,pilot.csv,all", "after a percentage"),
        ("missing.csv,all", "cannot be read"),
    ],
)
def test_rings_that_cannot_be_taken_are_refused_with_the_part_and_the_remedy(
    running: Running, text: str, words: str
) -> None:
    with running.school.store.read() as connection, pytest.raises(RingsError, match=words):
        parse_rings(text, connection, running.school.school_id, GROUP)


def test_a_file_of_devices_names_them_by_host_name_serial_or_id(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "pilot.csv"
    path.write_text(f"\ufeffdevice,whose\nlaptop-0,me\nLAPTOP-1,\n{PILOTS[2].hex()},\n\n")
    with running.school.store.read() as connection:
        rings = parse_rings(f"{path},10%,all", connection, running.school.school_id, GROUP)
        assert [(r.name, r.device_ids, r.per_mille) for r in rings] == [
            ("pilot", PILOTS, 0), ("10%", (), 100), ("all", (), 1000),
        ]  # fmt: skip
        path.write_text("device\nlaptop-0\nnobody\nnothing\n")
        with pytest.raises(RingsError) as refused:
            parse_rings(f"{path},all", connection, running.school.school_id, GROUP)
    assert f"{path}:3" in str(refused.value)
    assert f"{path}:4" in str(refused.value)
