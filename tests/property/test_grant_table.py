"""Whatever comes in whatever order: nothing is in force beyond its end, and nothing loosens by a clock set back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schoolkeeper_agent.clock import Moment, TimeFloor, believed_ms, floor_ms
from schoolkeeper_agent.grants import keeping
from schoolkeeper_agent.grants.table import BEHIND_MS, Instant, Judge, Step, Table, in_force, look, take
from schoolkeeper_proto import granting, model, wire
from schoolkeeper_proto.granting import ground_of
from schoolkeeper_proto.wire import GrantKind
from support.granting import (
    DSL,
    MINUTE,
    OFFICERS,
    SCHOOL,
    START,
    TECHNICIAN,
    app_rule,
    block_payload,
    ends,
    opened,
    signed,
    statement,
)

OVER = ("its time is over", "it has been in force for its whole length", "revoked")
GROUND = ground_of(opened((app_rule("games", "/usr/games/chess"),)))
JUDGE = Judge(school_id=SCHOOL, device_id=b"d" * 16, group="ks2-laptops", officers=OFFICERS, ground=GROUND)


def _grant(number: int) -> wire.GrantStatement:
    begins = START + (number % 3) * 5 * MINUTE
    length = (3 + number % 4 * 7) * MINUTE
    fields = {
        "grant_id": bytes([number]) * 16, "not_before_unix_ms": begins, "expires_unix_ms": begins + length
    }  # fmt: skip
    match number % 4:
        case 0:
            return statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload(), **fields)
        case 1:
            return statement(GrantKind.EXCEPTION, rule_ids=("games",), **fields)
        case 2:
            return statement(GrantKind.OBSERVE, powered_on_seconds=120, **fields)
        case _:
            return statement(GrantKind.REVOKE, payload=ends(bytes([number - 2]) * 16), **fields)


GRANTS = tuple(_grant(number) for number in range(12))


class Device(RuleBasedStateMachine):
    """True time runs on; the device sees it through a wall clock that anybody may set and a floor that nobody may."""

    def __init__(self) -> None:
        super().__init__()
        self.true_ms = START
        self.boot, self.booted_ms, self.wall_off = 1, START, 0
        self.floor = TimeFloor()
        self.table = Table()
        self.over: set[bytes] = set()

    @property
    def boot_id(self) -> bytes:
        return bytes([self.boot % 256]) * 16

    @property
    def moment(self) -> Moment:
        return Moment(wall_ms=self.true_ms + self.wall_off, monotonic_ms=self.true_ms - self.booted_ms)

    @property
    def at(self) -> Instant:
        return Instant(
            now=self.moment,
            boot_id=self.boot_id,
            believed_ms=believed_ms(self.floor, self.moment, self.boot_id),
            floor_ms=floor_ms(self.floor, self.moment, self.boot_id),
        )

    def _did(self, step: Step) -> None:
        self.table = step.table
        for event in step.events:
            if isinstance(event, model.GrantEnded) and event.reason in OVER:
                self.over.add(event.grant_id)

    @rule(number=st.integers(0, len(GRANTS) - 1))
    def comes(self, number: int) -> None:
        """Along the stream, so the signed time is there as well."""
        self.floor = self.floor.raised(self.true_ms, self.moment, self.boot_id)
        self._did(take(self.table, signed(GRANTS[number], TECHNICIAN, DSL), JUDGE, self.at))

    @rule(minutes=st.integers(0, 4))
    def time_goes_on(self, minutes: int) -> None:
        self.true_ms += minutes * MINUTE

    @rule(minutes=st.integers(-60, 60))
    def somebody_sets_the_clock(self, minutes: int) -> None:
        self.wall_off = minutes * MINUTE

    @rule(off_minutes=st.integers(0, 30))
    def reboot(self, off_minutes: int) -> None:
        """The floor was written down, and the table is read from the disk again."""
        self.floor = self.floor.carried(self.moment, self.boot_id)
        self.true_ms += off_minutes * MINUTE
        self.boot, self.booted_ms = self.boot + 1, self.true_ms

    @invariant()
    def what_is_in_force_may_be(self) -> None:
        self._did(look(self.table, self.at))
        said = {one.grant_id: one for one in GRANTS}
        for one in in_force(self.table, GROUND, self.at):
            assert one.grant_id not in self.over, "it came back"
            if one.kind in granting.LOOSER:
                assert self.moment.wall_ms >= self.at.floor_ms - BEHIND_MS
            if self.floor.boot_id == self.boot_id:  # the school signed the time since the last start
                assert (
                    said[one.grant_id].not_before_unix_ms <= self.true_ms < said[one.grant_id].expires_unix_ms
                )

    @invariant()
    def use_never_shrinks_and_never_exceeds(self) -> None:
        for one in self.table.held:
            assert 0 <= one.powered.used_ms < one.powered.granted_ms


Device.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestDevice = Device.TestCase


def test_what_is_kept_reads_back(tmp_path: Path) -> None:
    """After any of these lives the disk holds exactly the table: here, after one with everything in it."""
    device = Device()
    for number in (0, 1, 2, 3, 7):
        device.comes(number)
    device.time_goes_on(1)
    device.what_is_in_force_may_be()
    table = replace(device.table, refused={b"r" * 16: "refused: for a test"})
    keeping.save(tmp_path, table)
    assert keeping.load(tmp_path) == (table, "")
