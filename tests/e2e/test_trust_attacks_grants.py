"""The outsider's attacks on grants and commands (`trust_attacks.md`): a device's own table, its own policy's bounds.

The school is real: its officers, its default policy, its device's verified trust; the statements are the attacker's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.grants import keeping
from schoolkeeper_agent.grants.table import Instant, Judge, Step, Table, in_force, judge_again, take
from schoolkeeper_agent.policy_file import policy_from
from schoolkeeper_agent.uplink.orders import OrderRefused, command
from schoolkeeper_collector.school.key_changes import KeyWish
from schoolkeeper_proto import granting, model, policy, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.granting import HOUR, MINUTE, block_payload, ends
from support.outsider import DEVICE, Mirror, Scene, copy_of
from support.outsider_acts import publish_change
from support.school import DAY_MS, GROUP, OTHER_GROUP, School

pytestmark = [pytest.mark.timeout(300), pytest.mark.requirement("W-17")]
BOOT = b"b" * 16
RULE = "bypass.tor"


@dataclass
class Device:
    """A device's grants: its verified trust, its policy's own ground, a clock that the test sets."""

    scene: Scene
    table: Table = field(default_factory=Table)
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.now_ms = self.scene.school.made_ms + HOUR

    @property
    def judge(self) -> Judge:
        held = self.scene.in_force()
        ground = granting.ground_of(policy_from(held, self.scene.state_dir).bundle)
        return Judge(
            school_id=held.school_id,
            device_id=DEVICE,
            group=held.group,
            officers=held.officers,
            ground=ground,
        )

    def instant(self, *, wall_off_ms: int = 0) -> Instant:
        now = Moment(wall_ms=self.now_ms + wall_off_ms, monotonic_ms=self.now_ms - self.scene.school.made_ms)
        return Instant(now=now, boot_id=BOOT, believed_ms=self.now_ms, floor_ms=self.now_ms)

    def said(self, kind: GrantKind, *, minutes: int = 60, **fields: object) -> wire.GrantStatement:
        values: dict[str, object] = {
            "school_id": self.scene.school.school_id,
            "grant_id": os.urandom(16),
            "kind": kind,
            "not_before_unix_ms": self.now_ms - 1_000,
            "expires_unix_ms": self.now_ms - 1_000 + minutes * MINUTE,
            "groups": (GROUP,),
        }
        return wire.GrantStatement(**(values | fields))  # type: ignore[arg-type]

    def signed(self, said: wire.GrantStatement, *signers: str | Ed25519PrivateKey) -> wire.Grant:
        data = encode(said)
        keys = [self.scene.officer(one) if isinstance(one, str) else one for one in signers]
        made = (statements.sign(statements.GRANT, data, statements.Ed25519Signer(key)) for key in keys)
        return wire.Grant(statement=data, signatures=tuple(made))

    def give(self, grant: wire.Grant) -> Step:
        step = take(self.table, grant, self.judge, self.instant())
        self.table = step.table
        return step

    @property
    def kinds(self) -> list[GrantKind]:
        return [one.kind for one in in_force(self.table, self.judge.ground, self.instant())]

    def refuses(self, grant: wire.Grant, *words: str) -> None:
        before = self.kinds
        told = [e.reason for e in self.give(grant).events if isinstance(e, model.GrantEnded)]
        assert len(told) == 1, told
        assert told[0].startswith("refused: "), told
        assert all(word in told[0] for word in words), told
        assert self.kinds == before

    def ignores(self, grant: wire.Grant) -> None:
        before = self.kinds
        assert self.give(grant).events == ()
        assert self.kinds == before


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("attacked")
    school = School(folder / "collector")
    scene = Scene(school, folder / "device", Mirror.of(school.folder))
    scene.enrol()
    yield scene
    school.close()


@pytest.fixture
def device(template: Scene, tmp_path: Path) -> Device:
    return Device(copy_of(template, tmp_path))


def test_an_honest_grant_is_taken(device: Device) -> None:
    """So that each refusal below is a refusal of its own fault."""
    device.give(device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), "technician", "dsl"))
    assert device.kinds == [GrantKind.OBSERVE]


def test_replayed_after_its_end(device: Device) -> None:
    grant = device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), "technician", "dsl")
    device.give(grant)
    device.now_ms += 2 * HOUR
    assert device.kinds == []
    device.give(grant)
    assert device.kinds == []
    device.table = Table()  # a device whose memory was lost: time alone refuses it
    device.refuses(grant, "expired")


def test_replayed_after_it_was_revoked(device: Device) -> None:
    said = device.said(GrantKind.OBSERVE, rule_ids=(RULE,))
    grant = device.signed(said, "technician", "dsl")
    device.give(grant)
    device.give(device.signed(device.said(GrantKind.REVOKE, payload=ends(said.grant_id)), "technician"))
    assert device.kinds == []
    device.ignores(grant)
    # Kept over a restart.
    keeping.save(device.scene.state_dir, device.table)
    device.table, problem = keeping.load(device.scene.state_dir)
    assert problem == ""
    device.ignores(grant)


def test_replayed_with_a_longer_end(device: Device) -> None:
    """The signature is over every byte of the statement."""
    said = device.said(GrantKind.OBSERVE, rule_ids=(RULE,))
    grant = device.signed(said, "technician", "dsl")
    longer = replace(said, grant_id=os.urandom(16), expires_unix_ms=said.expires_unix_ms + DAY_MS)
    device.refuses(replace(grant, statement=encode(longer)), "signed by none")


def test_forged_by_the_online_key_and_by_a_stranger(device: Device) -> None:
    for key in (device.scene.online, Ed25519PrivateKey.generate()):
        device.refuses(
            device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), key, key), "signed by none"
        )
    device.refuses(
        device.signed(device.said(GrantKind.EMERGENCY_BLOCK, payload=block_payload())), "signed by none"
    )


def test_a_signature_made_for_something_else(device: Device) -> None:
    """An officer's signature over the same bytes as a command or as time is none over a grant."""
    for domain in (statements.COMMAND, statements.TIME, statements.RECOVERY, statements.RENEWAL):
        data = encode(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)))
        made = tuple(
            statements.sign(domain, data, statements.Ed25519Signer(device.scene.officer(name)))
            for name in ("technician", "dsl")
        )
        device.refuses(wire.Grant(statement=data, signatures=made), "signed by none")


def test_widened_by_one_officer(device: Device) -> None:
    for who in ("technician", "dsl", "head"):
        device.refuses(device.signed(device.said(GrantKind.OBSERVE), who), "alone")
    device.refuses(
        device.signed(device.said(GrantKind.OBSERVE), "technician", "second-technician"),
        "safeguarding officer",
    )
    device.refuses(device.signed(device.said(GrantKind.OBSERVE), "dsl", "head"), "technical")


def test_one_signature_given_twice(device: Device) -> None:
    grant = device.signed(device.said(GrantKind.OBSERVE), "technician")
    (one,) = grant.signatures
    dsl = statements.ed25519_key_id(device.scene.officer("dsl").public_key().public_bytes_raw())
    device.refuses(replace(grant, signatures=(one, one, replace(one, key_id=dsl))), "alone")


def test_widened_in_length_and_kind(device: Device) -> None:
    both = ("technician", "dsl")
    device.refuses(device.signed(device.said(GrantKind.OBSERVE, minutes=31 * 24 * 60), *both), "30 days")
    block = device.said(GrantKind.EMERGENCY_BLOCK, minutes=25 * 60, payload=block_payload())
    device.refuses(device.signed(block, "technician"), "1 day")
    opens = block_payload(decision=model.DecisionKind.ALLOW)
    device.refuses(
        device.signed(device.said(GrantKind.EMERGENCY_BLOCK, payload=opens), "technician"), "only refuse"
    )
    carries = device.said(GrantKind.OBSERVE, rule_ids=(RULE,), payload=opens)
    device.refuses(device.signed(carries, *both), "carries no rules")
    backwards = device.said(GrantKind.OBSERVE, minutes=-5)
    device.refuses(device.signed(backwards, *both), "lasts")
    modes = device.said(GrantKind.OBSERVE, rule_ids=(RULE,), allowed_mode="allow")
    device.refuses(device.signed(modes, *both), "mode")


def test_a_grant_for_another_school(device: Device) -> None:
    said = device.said(GrantKind.OBSERVE, rule_ids=(RULE,), school_id="eastgate.example")
    device.refuses(device.signed(said, "technician", "dsl"), "another school")


def test_a_grant_for_another_device_or_group(device: Device) -> None:
    for place in ({"groups": (OTHER_GROUP,)}, {"groups": (), "device_ids": (b"x" * 16,)}, {"groups": ()}):
        said = device.said(GrantKind.OBSERVE, rule_ids=(RULE,), **place)
        device.ignores(device.signed(said, "technician", "dsl"))


def test_a_block_is_not_ended_by_one(device: Device) -> None:
    block = device.said(GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    revoke = device.said(GrantKind.REVOKE, payload=ends(block.grant_id))
    device.give(device.signed(block, "technician"))
    device.refuses(device.signed(revoke, "dsl"), "alone")
    assert device.kinds == [GrantKind.EMERGENCY_BLOCK]


def test_a_block_is_not_ended_by_one_who_was_first(device: Device) -> None:
    """The revocation sent before the block: it waits for the block and must not count then either."""
    block = device.said(GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    revoke = device.said(GrantKind.REVOKE, payload=ends(block.grant_id))
    device.give(device.signed(revoke, "dsl"))
    device.give(device.signed(block, "technician"))
    assert device.kinds == [GrantKind.EMERGENCY_BLOCK]


def test_an_officer_who_left_grants_nothing(device: Device) -> None:
    kept = device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), "technician", "dsl")
    device.give(kept)
    publish_change(device.scene, KeyWish(leaving=("dsl",)), "root-1", "root-2", "technician", "head")
    assert device.scene.update().changed
    step = judge_again(device.table, device.judge, device.instant())
    device.table = step.table
    assert device.kinds == [], "what the officer granted before ends, too"
    device.refuses(device.signed(device.said(GrantKind.OBSERVE), "technician", "dsl"), "technician alone")
    device.refuses(
        device.signed(device.said(GrantKind.EMERGENCY_BLOCK, payload=block_payload()), "dsl"),
        "signed by none",
    )


def test_a_clock_set_back_prolongs_nothing(device: Device) -> None:
    device.give(device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), "technician", "dsl"))
    assert device.kinds == [GrantKind.OBSERVE]
    at = device.instant(wall_off_ms=-DAY_MS)
    assert in_force(device.table, device.judge.ground, at) == (), "suspended while the clock stands behind"


def test_a_table_rewritten_on_the_disk_gives_no_right(device: Device) -> None:
    """Somebody writes an unsigned grant into the file that the device keeps: judged again, it is out."""
    forged = device.signed(device.said(GrantKind.OBSERVE, rule_ids=(RULE,)), "technician", "dsl")
    device.give(forged)
    (held,) = device.table.held
    stripped = replace(held, grant=replace(held.grant, signatures=held.grant.signatures[:1]))
    keeping.save(device.scene.state_dir, replace(device.table, held=(stripped,)))
    device.table, _ = keeping.load(device.scene.state_dir)
    device.table = judge_again(device.table, device.judge, device.instant()).table
    assert device.kinds == []


# ---- commands -------------------------------------------------------------------------------------------


def ordered(device: Device, key: statements.Signer, **fields: object) -> wire.Command:
    values: dict[str, object] = {
        "school_id": device.scene.school.school_id,
        "command_id": os.urandom(16),
        "device_id": DEVICE,
        "expires_unix_ms": device.now_ms + MINUTE,
        "order": wire.RefreshPolicy(),
    }
    data = encode(wire.CommandStatement(**(values | fields)))  # type: ignore[arg-type]
    made = statements.sign(statements.COMMAND, data, key)
    return wire.Command(statement=data, key_id=made.key_id, signature=made.signature)


def test_commands_that_are_not_obeyed(device: Device) -> None:
    keys: policy.KeyStatement = device.scene.in_force().key_statement
    good = device.scene.school.keys.command
    obeyed = command(ordered(device, good), keys, DEVICE, device.now_ms)
    assert obeyed.device_id == DEVICE
    stranger, technician, online = (
        statements.Ed25519Signer(key)
        for key in (Ed25519PrivateKey.generate(), device.scene.officer("technician"), device.scene.online)
    )
    under_our_id = replace(ordered(device, stranger), key_id=good.key_id)
    as_grant = ordered(device, good)
    made = statements.sign(statements.GRANT, as_grant.statement, good)
    for sent, words in (
        (ordered(device, stranger), "not signed by a known command key"),
        (ordered(device, technician), "not signed by a known command key"),
        (ordered(device, online), "not signed by a known command key"),
        (under_our_id, "signature"),
        (replace(as_grant, signature=made.signature), "signature"),
        (ordered(device, good, expires_unix_ms=device.now_ms), "expired"),
        (ordered(device, good, device_id=b"y" * 16), "another school or device"),
        (ordered(device, good, school_id="eastgate.example"), "another school or device"),
        (ordered(device, good, order=None), "kind"),
    ):
        with pytest.raises(OrderRefused, match=words):
            command(sent, keys, DEVICE, device.now_ms)
