"""Whatever comes in, is raised, held, closed and released: nothing held goes, nothing else outlives its period."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from schoolkeeper_collector.incidents.holds import HoldBook
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.ledger.proofs import event_proof
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_collector.store.retention import Periods, Retention, retention_of
from schoolkeeper_proto import model, proof
from schoolkeeper_proto.codec import kind_number
from support.collector import Collector, TestSchool, add_school
from support.device import SimulatedDevice, started
from support.holding import Case, add_account, add_case, close_case, reopen_case
from support.stores import ENGINES, StoreUrls, migrated

SCHOOL = TestSchool()
NAME = SCHOOL.school_id
DAY = 24 * 3600 * 1000
BODIES: tuple[model.Body, ...] = (
    started(),
    model.Heartbeat(),
    model.Posture(check="lock", result=model.PostureResult.PASS),
    model.FilterBypass(technique="vpn"),
)
PERIODS = [
    Periods(by_class={Retention.RAW: 30, Retention.YEAR: 60, Retention.SAFEGUARDING: 120}, incident_days=50),
    Periods(
        by_class={Retention.RAW: 30, Retention.YEAR: 60, Retention.SAFEGUARDING: 120},
        by_kind={kind_number("heartbeat"): 7},
        incident_days=50,
    ),
    Periods(by_class={Retention.RAW: 10, Retention.YEAR: 20, Retention.SAFEGUARDING: 40}, incident_days=20),
]
STEP = st.one_of(
    st.tuples(
        st.just("send"), st.integers(0, 1), st.lists(st.sampled_from(range(4)), min_size=1, max_size=5)
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 8, 15, 31, 45]), st.none()),
    st.tuples(st.sampled_from(["alert", "incident"]), st.integers(0, 40), st.integers(1, 3)),
    st.tuples(st.just("more"), st.integers(0, 5), st.integers(0, 40)),
    st.tuples(st.sampled_from(["close", "close", "reopen", "hold", "release"]), st.integers(0, 5), st.none()),
    st.tuples(st.just("hold-device"), st.integers(0, 1), st.none()),
    st.tuples(st.just("periods"), st.sampled_from(range(len(PERIODS))), st.none()),
)


@dataclass
class Known:
    """What a person would know of one event."""

    device: int
    kind: int
    received_ms: int


@dataclass
class World:
    """The school, and beside it a plain account of what must and must not be there."""

    store: Store
    collector: Collector
    devices: list[SimulatedDevice]
    known: dict[int, Known] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    cases: list[Case] = field(default_factory=list)
    rests_on: list[set[int]] = field(default_factory=list)
    open: list[bool] = field(default_factory=list)
    closed_ms: list[int] = field(default_factory=list)
    holds: dict[int, tuple[str, int]] = field(default_factory=dict)
    periods: Periods = PERIODS[0]

    def __post_init__(self) -> None:
        self.expiry = Expiry(NAME, self.store.keystore, periods=lambda: self.periods, at_most=3)
        self.book = HoldBook(NAME, CaseLog(NAME, self.store.keystore))
        with self.store.write() as connection:
            add_account(connection, "dsl")

    # ---- what happens ---------------------------------------------------------------------------------------

    def send(self, device: int, bodies: list[int]) -> None:
        self.devices[device].record([BODIES[number] for number in bodies])
        self.collector.deliver_all(self.devices[device])
        for number, kind in self.stored().items():
            if number not in self.known:
                self.known[number] = Known(device, kind, self.collector.now_ms)

    def case(self, events: set[int], *, incident: bool) -> None:
        # An alert that became an incident is closed: what holds is the incident.
        state = "closed" if incident else "open"
        self.cases.append(add_case(self.store, sorted(events), incident=incident, state=state))
        self.rests_on.append(events)
        self.open.append(True)
        self.closed_ms.append(0)

    def close(self, number: int) -> None:
        close_case(self.store, self.cases[number], self.collector.now_ms)
        self.open[number], self.closed_ms[number] = False, self.collector.now_ms

    def reopen(self, number: int) -> None:
        if self.cases[number].number:
            reopen_case(self.store, self.cases[number])
            self.open[number] = True

    def hold(self, what: str, number: int) -> None:
        with self.store.write() as connection:
            if what == "device":
                identity = self.devices[number].identity.device_id
                hold = self.book.on_device(connection, identity, reason="r", by="dsl", now_ms=1)
            elif self.cases[number].number:
                hold = self.book.on_incident(
                    connection, self.cases[number].number, reason="r", by="dsl", now_ms=1
                )
            else:
                return
        self.holds[hold.number] = (what, number)

    def release(self, number: int) -> None:
        chosen = sorted(self.holds)[number % len(self.holds)] if self.holds else 0
        if chosen:
            with self.store.write() as connection:
                self.book.release(connection, chosen, reason="r", by="dsl", now_ms=1)
            del self.holds[chosen]

    # ---- what must hold -------------------------------------------------------------------------------------

    def stored(self) -> dict[int, int]:
        with self.store.read() as connection:
            rows = connection.execute(select(tables.events.c.event_no, tables.events.c.kind)).all()
        return {row.event_no: row.kind for row in rows}

    def held(self) -> set[int]:
        now_ms, kept_ms = self.collector.now_ms, self.periods.incident_days * DAY
        found: set[int] = set()
        for number, case in enumerate(self.cases):
            kept = self.open[number] or (case.number > 0 and now_ms - self.closed_ms[number] < kept_ms)
            if kept or ("incident", number) in self.holds.values():
                found |= self.rests_on[number]
        devices = {number for what, number in self.holds.values() if what == "device"}
        return found | {number for number, one in self.known.items() if one.device in devices}

    def expire(self) -> None:
        """One pass, looked at from outside."""
        self.collector.writer.work([])
        # The newest blob of all stays: something newer makes it another's turn.
        self.send(0, [0])
        before, held = set(self.stored()), self.held()
        self.collector.expire(self.expiry)
        after = set(self.stored())
        newest = max(after)
        over = {
            number
            for number, one in self.known.items()
            if self.collector.now_ms - one.received_ms > self.periods.days_of(one.kind) * DAY
        }
        assert before & held <= after, "something that is held went"
        assert (after & over) - held <= {newest}, "something that nothing holds outlived its period"
        assert before - after <= over, "something went before its time"
        self.gone |= before - after
        self._check_proofs(after)

    def _check_proofs(self, there: set[int]) -> None:
        keys = [SCHOOL.ledger.public_key().public_bytes_raw()]
        with self.store.read() as connection:
            for number in sorted(there)[:6]:
                shown = event_proof(connection, self.store.keystore, NAME, number)
                assert proof.holds(proof.check(shown, keys))

    def check(self) -> None:
        assert self.collector.fsck() == []
        assert set(self.stored()) == set(self.known) - self.gone, (
            "an event is neither there nor known to be gone"
        )
        with self.store.read() as connection:
            rows = connection.execute(select(tables.expiries.c.retention, tables.expiries.c.events)).all()
        counted = {row.retention: row.events for row in rows}
        kinds = [retention_of(self.known[number].kind).value for number in self.gone]
        assert counted == {name: kinds.count(name) for name in set(kinds)}

    def take(self, what: str, first: int | None, second: object) -> None:
        match what:
            case "send":
                assert isinstance(second, list)
                self.send(first or 0, second)
            case "wait":
                self.collector.now_ms += (first or 0) * DAY
                self.expire()
            case "periods":
                self.periods = PERIODS[first or 0]
            case "alert" | "incident":
                assert isinstance(second, int)
                there = sorted(self.stored())
                at = (first or 0) % len(there) if there else 0
                self.case(set(there[at : at + second]), incident=what == "incident")
            case "hold-device":
                self.hold("device", first or 0)
            case "release":
                self.release(first or 0)
            case _ if self.cases:
                self._take_case(what, (first or 0) % len(self.cases), second)

    def _take_case(self, what: str, number: int, second: object) -> None:
        match what:
            case "close":
                self.close(number)
            case "reopen":
                self.reopen(number)
            case "hold":
                self.hold("incident", number)
            case "more":
                assert isinstance(second, int)
                there = [event for event in sorted(self.stored()) if event not in self.rests_on[number]]
                if there:
                    new = there[second % len(there)]
                    add_case(self.store, [new], case=self.cases[number], state=self._alert_state(number))
                    self.rests_on[number].add(new)

    def _alert_state(self, number: int) -> str:
        return "open" if self.open[number] and not self.cases[number].number else "closed"


@contextmanager
def world(engine: str, request: pytest.FixtureRequest) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if engine == "sqlite" else None) as folder:
        urls = StoreUrls.of(engine, Path(folder), request)
        migrated(urls.store, urls.keystore)
        store = open_store(urls.store, urls.keystore)
        add_school(store)
        collector = Collector(store, SCHOOL)
        yield World(store, collector, [collector.device(), collector.device()])
        collector.close()
        store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_held_goes_and_nothing_else_stays(engine: str, request: pytest.FixtureRequest) -> None:
    examples = int(os.environ.get("SCHOOLKEEPER_KEEPING_EXAMPLES", "12" if engine == "sqlite" else "4"))

    # Not made smaller: that takes minutes, and each step that led there is printed anyway.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=phases)
    @given(st.lists(STEP, min_size=8, max_size=30))
    def run(steps: list[tuple[str, int | None, object]]) -> None:
        with world(engine, request) as made:
            for device in (0, 1):
                made.send(device, [0, 1, 2, 3, 0, 1])
            first, *_, last = sorted(made.known)
            made.case({first, first + 1}, incident=True)
            made.case({last - 1, last}, incident=False)
            for step in steps:
                made.take(*step)
            made.expire()
            made.check()

    run()
