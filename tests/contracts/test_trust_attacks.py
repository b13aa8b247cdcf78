"""Attacks on what a device believes, one named class each, against the real verifying process of the agent.

The attacker has the collector: its disk, its online key, its network. Where a class needs more (one officer's key,
two keys of one duty) it says so. Each attack must be refused with its reason; what was in force must stay in force;
alerts for technician and DSL follow from the event. A table of what was seen is printed at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_agent import trust as agent_trust
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.grants import table as grants
from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.officer import keyfile
from schoolkeeper_policies.officer.signing import sign_metadata
from schoolkeeper_proto import bundle as bundles
from schoolkeeper_proto import granting, policy, statements, trust, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.wire import GrantKind
from support.hostile import DEVICE, HostileCollector, Laptop, enrolled_laptop, hostile_copy
from support.school import DAY_MS, GROUP, OTHER_GROUP, School

SEEN: list[tuple[str, str, str]] = []


@dataclass(frozen=True)
class Scene:
    collector: HostileCollector
    laptop: Laptop
    folder: Path

    @property
    def online(self) -> Ed25519PrivateKey:
        return self.collector.school.keys.online

    def publish_good(self) -> None:
        self.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": self.collector.new_bundle()})
        assert self.laptop.update().changed

    def write(self, name: str, data: bytes) -> None:
        path = self.collector.folder / "metadata" / name
        path.write_bytes(data)

    def groups(self) -> bytes:
        return self.collector.repository.read_file("metadata/1.groups.json")


@dataclass(frozen=True)
class Attack:
    """``expects``: reasons of which one must be given."""

    name: str
    has: str
    expects: tuple[str, ...]
    do: Callable[[Scene], None]


def rollback(scene: Scene) -> None:
    old = scene.collector.repository.read_file("metadata/timestamp.json")
    scene.publish_good()
    scene.collector.served["metadata/timestamp.json"] = old


def rollback_inside(scene: Scene) -> None:
    """A new timestamp and snapshot that name the older targets."""
    scene.publish_good()
    old = scene.collector.repository.read_file("metadata/1.targets.json")
    scene.collector.seal(1, {"targets": old, "groups": scene.groups()})


def freeze(scene: Scene) -> None:
    scene.laptop.later_ms = 15 * DAY_MS


def mix_and_match(scene: Scene) -> None:
    scene.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": scene.collector.new_bundle()})
    kept = scene.collector.repository.read_file("metadata/2.targets.json")
    other = sign_metadata(kept, scene.collector.officer("head"), None)
    scene.collector.served["metadata/2.targets.json"] = other


def signed_by(*officers: str) -> Callable[[Scene], None]:
    def do(scene: Scene) -> None:
        scene.collector.publish(*officers, **{f"bundles__{GROUP}": scene.collector.new_bundle()})

    return do


def key_twice_in_root(scene: Scene) -> None:
    def twice(signed: dict) -> None:  # type: ignore[type-arg]
        raw = scene.collector.officer("technician").signing.public_key().public_bytes_raw().hex()
        held = next(k for k, v in signed["keys"].items() if v["keyval"]["public"] == raw)
        signed["keys"]["f" * 64] = dict(signed["keys"][held])
        signed["roles"]["targets"]["keyids"].append("f" * 64)
        signed[trust.DUTIES_FIELD]["f" * 64] = {"officer": "another", "duty": "safeguarding"}

    scene.collector.next_root("root-1", "root-2", change=twice)


def one_signature_twice(scene: Scene) -> None:
    """The technician's signature, once under the DSL's key id."""
    scene.collector.publish("technician", **{f"bundles__{GROUP}": scene.collector.new_bundle()})
    document = json.loads(scene.collector.repository.read_file("metadata/2.targets.json"))
    dsl = trust.tuf_key_id(scene.collector.officer("dsl").signing.public_key().public_bytes_raw())
    document["signatures"].append({"keyid": dsl, "sig": document["signatures"][0]["sig"]})
    data = json.dumps(document).encode()
    scene.write("2.targets.json", data)
    scene.collector.seal(2, {"targets": data, "groups": scene.groups()})


def revoked_key(scene: Scene) -> None:
    def without(signed: dict) -> None:  # type: ignore[type-arg]
        raw = scene.collector.officer("dsl").signing.public_key().public_bytes_raw().hex()
        gone = next(k for k, v in signed["keys"].items() if v["keyval"]["public"] == raw)
        del signed["keys"][gone], signed[trust.DUTIES_FIELD][gone]
        signed["roles"]["targets"]["keyids"].remove(gone)

    scene.collector.next_root("root-1", "root-2", change=without)
    signed_by("technician", "head")(scene)
    assert scene.laptop.update().changed
    signed_by("technician", "dsl")(scene)


def expired_targets(scene: Scene) -> None:
    """Officers' signatures of long ago under a fresh timestamp."""
    scene.collector.school.made_ms -= 401 * DAY_MS
    scene.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": scene.collector.new_bundle()})
    scene.collector.school.made_ms += 401 * DAY_MS
    data = scene.collector.repository.read_file("metadata/2.targets.json")
    scene.collector.seal(2, {"targets": data, "groups": scene.groups()})


def other_groups_bundle(scene: Scene) -> None:
    """Two careless officers signed the staff's bundle under the pupils' name."""
    scene.collector.publish(
        "technician", "dsl", **{f"bundles__{GROUP}": scene.collector.new_bundle(OTHER_GROUP)}
    )


def other_devices_bundle(scene: Scene) -> None:
    """The file of another device's group in place of this one's."""
    scene.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": scene.collector.new_bundle()})
    theirs = scene.collector.files()[trust.bundle_target(OTHER_GROUP)]
    mine = scene.collector.files()[trust.bundle_target(GROUP)]
    name = trust.target_file_name(trust.bundle_target(GROUP), trust.sha256(mine).hex())
    scene.collector.served[f"targets/{name}"] = theirs


def other_school(scene: Scene) -> None:
    held = decode(policy.KeyStatement, scene.collector.files()[trust.KEYS_TARGET])
    scene.collector.publish("technician", "dsl", keys=encode(replace(held, school_id="tai.example")))


def arbitrary_target(scene: Scene) -> None:
    bundle = scene.collector.new_bundle()
    scene.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": bundle})
    evil = compile_bundle(
        "demo", scene.collector.school.keys, group=GROUP, version=9, now_ms=scene.collector.school.made_ms
    )
    name = trust.target_file_name(trust.bundle_target(GROUP), trust.sha256(bundle).hex())
    scene.collector.served[f"targets/{name}"] = evil


def endless_metadata(scene: Scene) -> None:
    good = scene.collector.repository.read_file("metadata/timestamp.json")
    scene.collector.served["metadata/timestamp.json"] = good + b" " * (3 << 20)


def endless_target(scene: Scene) -> None:
    bundle = scene.collector.new_bundle()
    scene.collector.publish("technician", "dsl", **{f"bundles__{GROUP}": bundle})
    name = trust.target_file_name(trust.bundle_target(GROUP), trust.sha256(bundle).hex())
    scene.collector.served[f"targets/{name}"] = bundle + bytes(3 << 20)


def slow_retrieval(scene: Scene) -> None:
    async def never(name: str) -> bytes | None:
        await asyncio.sleep(3600)
        return None

    scene.collector.fetch = never  # type: ignore[method-assign]


def altered_root_chain(scene: Scene) -> None:
    """The attacker's own root, signed by keys of the attacker's own that it lists itself."""
    mine = [Ed25519PrivateKey.generate() for _ in range(2)]
    officers = [
        roots.OfficerPublic(officer=name, duty=duty, signing_key=os.urandom(32))
        for name, duty in (("x", trust.Duty.TECHNICAL), ("y", trust.Duty.SAFEGUARDING))
    ]
    data = roots.make_root(
        version=2,
        root_keys=[key.public_key().public_bytes_raw() for key in mine],
        officers=officers,
        online_key=scene.online.public_key().public_bytes_raw(),
        now_ms=scene.collector.school.made_ms,
    )
    scene.write("2.root.json", roots.sign(data, *mine))


def one_root_key(scene: Scene) -> None:
    scene.collector.next_root("root-1")


def skipped_root(scene: Scene) -> None:
    """Root 3 in the place of root 2, well signed."""

    def third(signed: dict) -> None:  # type: ignore[type-arg]
        signed["version"] = 3

    scene.collector.next_root("root-1", "root-2", change=third)


def lowered_threshold(scene: Scene) -> None:
    def lower(signed: dict) -> None:  # type: ignore[type-arg]
        signed["roles"]["targets"]["threshold"] = 1

    scene.collector.next_root("root-1", "root-2", change=lower)


def role_outside(scene: Scene) -> None:
    """The online key signs a bundle of its own into the role that places devices."""
    now = scene.collector.repository.current()
    document = json.loads(scene.groups())
    document["signed"]["targets"][trust.bundle_target(GROUP)] = document["signed"]["targets"][
        trust.GROUPS_TARGET
    ]
    document["signed"]["version"] = 2
    document["signatures"] = []
    data = roots.sign(json.dumps(document).encode(), scene.online)
    scene.write("2.groups.json", data)
    targets = scene.collector.repository.read_file(f"metadata/{now.targets_version}.targets.json")
    scene.collector.seal(now.targets_version, {"targets": targets, "groups": data})


def unsigned_stage(scene: Scene) -> None:
    """A rollout whose next ring somebody opens whom the officers did not name."""
    old, new = scene.collector.files()[trust.bundle_target(GROUP)], scene.collector.new_bundle()
    plan = policy.RolloutPlan(
        school_id=scene.collector.school.school_id,
        group=GROUP,
        rollout_id=bytes(16),
        from_bundle_hash=trust.sha256(old),
        from_version=1,
        to_bundle_hash=trust.sha256(new),
        to_version=2,
        rings=(policy.RolloutRing(name="all", per_mille=1000),),
        salt=bytes(16),
        planned_unix_ms=scene.collector.school.made_ms,
    )
    names = {f"bundles__{GROUP}": new, f"bundles__{GROUP}__previous": old, f"rollout__{GROUP}": encode(plan)}
    scene.collector.publish("technician", "dsl", **names)
    assert scene.laptop.update().changed
    assert scene.laptop.in_force().bundle == old, "no ring is open"
    opened = policy.RolloutStage(
        school_id=plan.school_id,
        version=2,
        groups=(policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=1),),
    )
    stranger = Ed25519PrivateKey.generate()
    now_ms = scene.collector.school.made_ms
    data = roots.make_rollout(version=2, stage=encode(opened), online=stranger, now_ms=now_ms)
    scene.write("2.rollout.json", data)
    name = trust.target_file_name(trust.STAGE_TARGET, trust.sha256(encode(opened)).hex())
    path = scene.collector.folder / "targets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(opened))
    targets = scene.collector.repository.read_file("metadata/2.targets.json")
    scene.collector.seal(2, {"targets": targets, "groups": scene.groups(), "rollout": data})


ATTACKS = (
    Attack("rollback", "the collector", ("rollback",), rollback),
    Attack("rollback under a new timestamp", "the collector", ("rollback",), rollback_inside),
    Attack("freeze", "the collector", ("expired",), freeze),
    Attack("mix-and-match", "the collector", ("altered",), mix_and_match),
    Attack(
        "too few signatures", "one officer's key", ("no-safeguarding-signature",), signed_by("technician")
    ),
    Attack(
        "wrong role: two technical",
        "two officers' keys",
        ("no-safeguarding-signature",),
        signed_by("technician", "second-technician"),
    ),
    Attack("wrong role: root keys", "two root keys", ("signature",), signed_by("root-1", "root-2")),
    Attack("one key under two ids", "two root keys", ("key-twice",), key_twice_in_root),
    Attack(
        "one signature under two ids",
        "one officer's key",
        ("no-safeguarding-signature",),
        one_signature_twice,
    ),
    Attack("revoked key", "a key that was taken out", ("no-safeguarding-signature",), revoked_key),
    Attack("expired metadata", "old signatures", ("expired",), expired_targets),
    Attack("another device's bundle", "the collector", ("altered-target",), other_devices_bundle),
    Attack("another group's bundle", "two careless officers", ("wrong-group",), other_groups_bundle),
    Attack("another school", "two careless officers", ("wrong-school",), other_school),
    Attack("arbitrary target", "the collector", ("altered-target",), arbitrary_target),
    Attack("endless data: metadata", "the network", ("altered", "too-long", "unreachable"), endless_metadata),
    Attack("endless data: target", "the network", ("altered-target",), endless_target),
    Attack("slow retrieval", "the network", ("unreachable",), slow_retrieval),
    Attack("altered root chain", "the collector", ("signature",), altered_root_chain),
    Attack("root of too few", "one root key", ("signature",), one_root_key),
    Attack("skipped root", "two root keys", ("rollback",), skipped_root),
    Attack("lowered threshold", "two root keys", ("threshold",), lowered_threshold),
    Attack("online key outside its role", "the collector", ("outside-role",), role_outside),
    Attack("unsigned rollout stage", "the network", ("signature", "too-few-signatures"), unsigned_stage),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[School]:
    school = School(tmp_path_factory.mktemp("school"))
    yield school
    school.close()
    _print_table(request.config)


def _print_table(config: pytest.Config) -> None:
    capture = config.pluginmanager.getplugin("capturemanager")
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or capture is None or not SEEN:
        return
    with capture.global_and_fixture_disabled():
        terminal.ensure_newline()
        terminal.section("attacks on trust", sep="=")
        for name, has, reason in SEEN:
            terminal.write_line(f"{name:37} {has:26} refused: {reason.removeprefix('refused: ')}")


@pytest.fixture
def scene(template: School, tmp_path: Path) -> Scene:
    collector = hostile_copy(template, tmp_path / "collector")
    return Scene(collector, enrolled_laptop(collector, tmp_path / "laptop"), tmp_path)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_on_policy_is_refused_with_its_reason(
    scene: Scene, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack.do is slow_retrieval:
        monkeypatch.setattr(agent_trust, "CHILD_SECONDS", 2.0)
    attack.do(scene)
    before = scene.laptop.in_force()
    update = scene.laptop.update()
    assert not update.changed
    assert update.refused in attack.expects, update
    assert update.message
    assert scene.laptop.in_force() == before, "the policy in force stays"
    SEEN.append((attack.name, attack.has, update.refused))


def test_what_is_refused_once_does_not_stand_in_the_way_of_the_next_good_one(scene: Scene) -> None:
    signed_by("technician")(scene)
    assert scene.laptop.update().refused
    signed_by("technician", "dsl")(scene)
    assert scene.laptop.update().changed


# ---- grants -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Desk:
    """Officers who sign, and the device that judges, beside the policy in force."""

    collector: HostileCollector
    judge: grants.Judge
    now_ms: int

    def statement(self, **changed: object) -> wire.GrantStatement:
        said: dict[str, object] = {
            "school_id": self.collector.school.school_id,
            "grant_id": os.urandom(16),
            "kind": GrantKind.OBSERVE,
            "not_before_unix_ms": self.now_ms,
            "expires_unix_ms": self.now_ms + 3_600_000,
            "groups": (GROUP,),
            "rule_ids": ("bypass.tor",),
            "payload": encode(policy.GrantPayload()),
        }
        return wire.GrantStatement(**(said | changed))  # type: ignore[arg-type]

    def signed(self, statement: wire.GrantStatement, *officers: str) -> wire.Grant:
        data = encode(statement)
        made = (statements.sign(statements.GRANT, data, self.collector.officer(n).signer) for n in officers)
        return wire.Grant(statement=data, signatures=tuple(made))

    def take(self, sent: wire.Grant, held: grants.Table | None = None, later_ms: int = 0) -> grants.Step:
        now = self.now_ms + later_ms
        at = grants.Instant(
            now=Moment(monotonic_ms=later_ms, wall_ms=now), boot_id=b"boot", believed_ms=now, floor_ms=now
        )
        return grants.take(held or grants.Table(), sent, self.judge, at)


@pytest.fixture
def desk(scene: Scene) -> Desk:
    held = scene.laptop.in_force()
    opened = bundles.open_bundle(
        held.bundle,
        school_id=held.school_id,
        group=GROUP,
        capabilities=frozenset(
            decode(
                policy.BundleManifest, decode(policy.PolicyBundle, held.bundle).manifest
            ).required_capabilities
        ),
    )
    root = trust.read_root(scene.collector.repository.root_chain()[0])
    judge = grants.Judge(
        school_id=held.school_id,
        device_id=DEVICE,
        group=GROUP,
        officers=granting.officers_of(root, held.key_statement),
        ground=granting.ground_of(opened),
    )
    return Desk(scene.collector, judge, scene.collector.school.made_ms + 2_000)


def refused(desk: Desk, name: str, has: str, step: grants.Step) -> None:
    assert step.table.held == ()
    reasons = [event.reason for event in step.events if hasattr(event, "reason")] or [step.problem]
    assert reasons[0], step
    SEEN.append((name, has, reasons[0][:90]))


def test_a_good_grant_is_taken(desk: Desk) -> None:
    """So that the others are refused for what is wrong with them."""
    assert len(desk.take(desk.signed(desk.statement(), "technician", "dsl")).table.held) == 1


def test_a_forged_grant(desk: Desk) -> None:
    stranger = keyfile.new_keys("dsl", trust.Duty.SAFEGUARDING)
    data = encode(desk.statement())
    sent = wire.Grant(statement=data, signatures=(statements.sign(statements.GRANT, data, stranger.signer),))
    refused(desk, "forged grant", "the collector", desk.take(sent))


def test_a_grant_of_one_duty(desk: Desk) -> None:
    sent = desk.signed(desk.statement(), "technician", "second-technician")
    refused(desk, "grant by two of one duty", "two officers' keys", desk.take(sent))


def test_a_signature_over_something_else(desk: Desk) -> None:
    """An officer's signature over a policy or a time is none over a grant."""
    data = encode(desk.statement())
    made = [desk.collector.officer(name).signer for name in ("technician", "dsl")]
    sent = wire.Grant(
        statement=data, signatures=tuple(statements.sign(statements.TIME, data, signer) for signer in made)
    )
    refused(desk, "grant with signatures of another kind", "other signatures", desk.take(sent))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("longer", {"expires_unix_ms": 4_000_000_000_000}),
        ("more groups", {"groups": (GROUP, OTHER_GROUP)}),
        ("other rules", {"rule_ids": ()}),
        ("milder", {"allowed_mode": "warn"}),
    ],
)
def test_a_widened_grant(desk: Desk, what: str, change: dict[str, object]) -> None:
    good = desk.signed(desk.statement(), "technician", "dsl")
    wider = replace(decode(wire.GrantStatement, good.statement), **change)  # type: ignore[arg-type]
    sent = replace(good, statement=encode(wider))
    refused(desk, f"grant widened: {what}", "a good grant", desk.take(sent))


def test_a_replayed_grant(desk: Desk) -> None:
    good = desk.signed(desk.statement(), "technician", "dsl")
    running = desk.take(good).table
    end = desk.signed(
        desk.statement(
            kind=GrantKind.REVOKE,
            rule_ids=(),
            payload=encode(
                policy.GrantPayload(grant_ids=(decode(wire.GrantStatement, good.statement).grant_id,))
            ),
        ),
        "dsl",
    )
    ended = desk.take(end, running).table
    assert ended.held == ()
    again = desk.take(good, ended)
    assert again.table.held == ()
    SEEN.append(("replayed grant: after its revocation", "a good grant", "it is over and does not come back"))
    refused(desk, "replayed grant: after its end", "a good grant", desk.take(good, later_ms=3_600_001))


def test_a_grant_for_another_device(desk: Desk) -> None:
    sent = desk.signed(
        desk.statement(groups=(OTHER_GROUP,), device_ids=(os.urandom(16),)), "technician", "dsl"
    )
    assert desk.take(sent).table.held == ()
    SEEN.append(("another device's grant", "a good grant", "passed over: it is for other devices"))


def test_a_grant_of_another_school(desk: Desk) -> None:
    sent = desk.signed(desk.statement(school_id="tai.example"), "technician", "dsl")
    refused(desk, "another school's grant", "a good grant", desk.take(sent))


def test_an_emergency_block_that_opens(desk: Desk) -> None:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="emergency.x"),
        decision=policy.DecisionKind.ALLOW,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="tor"),),
    )
    payload = policy.GrantPayload(applications=policy.ApplicationsSection(rules=(rule,)))
    sent = desk.signed(
        desk.statement(kind=GrantKind.EMERGENCY_BLOCK, rule_ids=(), payload=encode(payload)), "technician"
    )
    refused(desk, "emergency block that allows", "one officer's key", desk.take(sent))


def test_an_emergency_block_that_does_not_end(desk: Desk) -> None:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="emergency.x"),
        decision=policy.DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="x"),),
    )
    payload = policy.GrantPayload(applications=policy.ApplicationsSection(rules=(rule,)))
    sent = desk.signed(
        desk.statement(
            kind=GrantKind.EMERGENCY_BLOCK,
            rule_ids=(),
            payload=encode(payload),
            expires_unix_ms=desk.now_ms + 25 * 3_600_000,
        ),
        "technician",
    )
    refused(desk, "emergency block of 25 hours", "one officer's key", desk.take(sent))


# ---- who hears of it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [attack for attack in ATTACKS if not {"expired", "unreachable"} & set(attack.expects)],
    ids=lambda attack: attack.name,
)
def test_technician_and_dsl_hear_of_every_attack(attack: Attack) -> None:
    """Staleness and a dead network have alerts of their own."""
    detectors = load_rules("default").by_kind["policy.refused"]
    for reason in attack.expects:
        said = {"reason": f"{reason}: whatever it says then"}
        assert {one.rule.meta.audience.value for one in detectors if one.matches(said)} == {
            "technician",
            "safeguarding",
        }
