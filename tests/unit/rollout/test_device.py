"""What a device takes in a rollout, with a collector whose online key is hostile: one of the two signed bundles, never
another, and never back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schoolkeeper_agent.trust import Place, Trust, TrustUpdate, load_trust, save_place, update_trust
from schoolkeeper_collector.rollout import planning
from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.repository import NotPublished
from schoolkeeper_policies.officer.signing import sign_metadata
from schoolkeeper_proto import policy, rollout, trust
from schoolkeeper_proto.codec import encode
from support.school import GROUP, School

PILOT, OTHER = bytes(range(16)), bytes(range(16, 32))


@dataclass
class Collector:
    """Publishes a rollout that officers signed; what it says of the stage is whatever it likes."""

    school: School
    served: dict[str, bytes] = field(default_factory=dict)
    stages: int = 1

    def bundle(self, version: int, *, now_ms: int = 0) -> bytes:
        made = now_ms or self.school.made_ms + version
        return compile_bundle("default", self.school.keys, group=GROUP, version=version, now_ms=made)

    def publish(self, files: dict[str, bytes], removed: frozenset[str] = frozenset()) -> None:
        repository = self.school.repository
        held = repository.current()
        view = trust.unchecked_targets(repository.read_file(f"metadata/{held.targets_version}.targets.json"))
        everything = {
            name: repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
            for name, entry in view.targets.items()
            if name not in removed
        } | files
        data = roots.make_targets(
            version=held.targets_version + 1,
            files=everything,
            online_key=self.school.keys.online.public_key().public_bytes_raw(),
            now_ms=self.school.made_ms,
        )
        for name in ("technician", "dsl"):
            data = sign_metadata(data, self.school.officer(name), None)
        repository.publish_targets(data, everything, self.school.keys.online, self.school.made_ms)

    def roll_out(self, version: int = 2, *, unfinished: bool = False) -> policy.RolloutPlan:
        held = self.school.repository.current()
        new = self.bundle(version)
        rings = (
            policy.RolloutRing(name="pilot", device_ids=(PILOT,)),
            policy.RolloutRing(name="all", per_mille=1000),
        )
        staged = planning.with_rings(
            self.school.repository, held, GROUP, new, rings, policy.RolloutTerms(),
            unfinished=unfinished, now_ms=self.school.made_ms,
        )  # fmt: skip
        self.publish({trust.bundle_target(GROUP): new} | staged.changed)
        return self.school.repository.current().plans[GROUP]

    def open(self, rings: int, *, paused: bool = False) -> None:
        plan = self.school.repository.current().plans[GROUP]
        entry = policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=rings, paused=paused)
        self.school.repository.publish_stage((entry,), self.school.keys.online, self.school.made_ms)

    async def fetch(self, name: str) -> bytes | None:
        if name in self.served:
            return self.served[name]
        try:
            return self.school.repository.read_file(name)
        except NotPublished:
            return None


@dataclass
class Laptop:
    state_dir: Path
    collector: Collector
    device_id: bytes

    def enrol(self) -> None:
        root = self.collector.school.repository.root_chain()[0]
        place = Place(
            school_id=self.collector.school.school_id,
            device_id=self.device_id,
            group=GROUP,
            root_sha256=trust.sha256(root),
        )
        save_place(self.state_dir, place)
        assert self.update(first_root=root).changed

    def update(self, first_root: bytes | None = None) -> TrustUpdate:
        now_ms = self.collector.school.made_ms + 1000
        return asyncio.run(
            update_trust(self.state_dir, self.collector.fetch, now_ms=now_ms, first_root=first_root)
        )

    @property
    def trust(self) -> Trust:
        found = load_trust(self.state_dir)
        assert found is not None
        return found

    @property
    def version(self) -> int:
        return self.trust.bundle_version


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    school = School(tmp_path / "collector")
    yield Collector(school)
    school.close()


@pytest.fixture
def enrolled(collector: Collector, tmp_path: Path) -> Callable[[bytes], Laptop]:
    def make(device_id: bytes) -> Laptop:
        laptop = Laptop(tmp_path / device_id.hex(), collector, device_id)
        laptop.enrol()
        return laptop

    return make


def test_each_device_takes_the_new_policy_when_its_ring_opens_and_waits_until_then(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    pilot, other = enrolled(PILOT), enrolled(OTHER)
    collector.roll_out()
    for laptop in (pilot, other):
        assert not laptop.update().refused
        assert laptop.version == 1
        assert laptop.trust.waits_for_ring
    collector.open(1)
    assert not pilot.update().refused
    assert not other.update().refused
    assert (pilot.version, other.version) == (2, 1)
    collector.open(2)
    other.update()
    assert other.version == 2
    assert not other.trust.waits_for_ring


def test_a_device_that_enrols_in_the_middle_takes_its_rings_bundle(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    collector.roll_out()
    collector.open(1)
    assert enrolled(PILOT).version == 2
    assert enrolled(OTHER).version == 1


def test_there_is_no_way_back_whatever_the_stage_says(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    """The online key closes rings, pauses, speaks of another rollout: a device with the new bundle keeps it."""
    pilot = enrolled(PILOT)
    collector.roll_out()
    collector.open(1)
    pilot.update()
    assert pilot.version == 2
    collector.open(0)
    pilot.update()
    assert pilot.version == 2
    collector.open(0, paused=True)
    pilot.update()
    assert pilot.version == 2
    other = policy.GroupStage(group=GROUP, rollout_id=b"another rollout!", open_rings=0)
    collector.school.repository.publish_stage(
        (other,), collector.school.keys.online, collector.school.made_ms
    )
    pilot.update()
    assert pilot.version == 2


def test_paused_nobody_new_takes_it(collector: Collector, enrolled: Callable[[bytes], Laptop]) -> None:
    pilot, other = enrolled(PILOT), enrolled(OTHER)
    collector.roll_out()
    collector.open(1)
    pilot.update()
    collector.open(2, paused=True)
    pilot.update()
    other.update()
    assert (pilot.version, other.version) == (2, 1)


def test_a_third_bundle_is_never_taken(collector: Collector, enrolled: Callable[[bytes], Laptop]) -> None:
    """In the place of either signed one; in a plan of its own; and as a target of the role that the key may sign."""
    pilot, other = enrolled(PILOT), enrolled(OTHER)
    plan = collector.roll_out()
    third = collector.bundle(9)
    for name, sha256 in (
        (trust.bundle_target(GROUP), plan.to_bundle_hash),
        (rollout.previous_target(GROUP), plan.from_bundle_hash),
    ):
        collector.served[f"targets/{trust.target_file_name(name, sha256.hex())}"] = third
    collector.open(1)
    assert pilot.update().refused == "altered-target"
    assert pilot.version == 1

    collector.served.clear()
    forged = encode(
        policy.RolloutPlan(
            school_id=plan.school_id, group=GROUP, rollout_id=plan.rollout_id,
            from_bundle_hash=plan.from_bundle_hash, from_version=1,
            to_bundle_hash=trust.sha256(third), to_version=9, rings=plan.rings, salt=plan.salt,
            planned_unix_ms=1,
        )
    )  # fmt: skip
    signed = trust.sha256(encode(plan)).hex()
    collector.served[f"targets/{trust.target_file_name(rollout.plan_target(GROUP), signed)}"] = forged
    assert other.update().refused == "altered-target"
    assert other.version == 1


def test_the_online_key_signs_nothing_but_the_stage(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    """A delegated role that brings a bundle, too, is refused whole by our own reading of it."""
    enrolled(PILOT)
    collector.roll_out()
    held = collector.school.repository.current()
    parent = trust.unchecked_targets(
        collector.school.repository.read_file(f"metadata/{held.targets_version}.targets.json")
    )
    outside = roots.sign(
        roots.make_targets(
            version=1, files={trust.bundle_target(GROUP): b"x"},
            online_key=collector.school.keys.online.public_key().public_bytes_raw(),
            now_ms=collector.school.made_ms,
        ),
        collector.school.keys.online,
    )  # fmt: skip
    with pytest.raises(trust.TrustRefused) as refused:
        trust.read_rollout(outside, parent)
    assert refused.value.reason == "outside-role"


def test_a_stage_that_another_key_signed_is_refused_and_the_policy_stays(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    pilot = enrolled(PILOT)
    collector.roll_out()
    pilot.update()
    collector.open(1)
    version = collector.school.repository.current().rollout_version
    stage = collector.school.repository.current().stage
    assert stage is not None
    by_officer = roots.make_rollout(
        version=version,
        stage=encode(stage),
        online=collector.school.officer("technician").signing,
        now_ms=collector.school.made_ms,
    )
    collector.served[f"metadata/{version}.rollout.json"] = by_officer
    assert pilot.update().refused
    assert pilot.version == 1


def test_an_older_stage_is_a_rollback(collector: Collector, enrolled: Callable[[bytes], Laptop]) -> None:
    """A ring that was open is closed again by showing the metadata of before."""
    other = enrolled(OTHER)
    collector.roll_out()
    folder = collector.school.folder / "trust" / "metadata"
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    collector.open(2)
    other.update()
    assert other.version == 2
    collector.served = {f"metadata/{name}": data for name, data in before.items()}
    assert other.update().refused == "rollback"
    assert other.version == 2


def test_a_new_rollout_in_the_middle_of_another_sends_nobody_back(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    """The pilot has version 2, the others 1; version 3 starts from 1: the pilot takes it, and nobody goes back."""
    pilot, other = enrolled(PILOT), enrolled(OTHER)
    first = collector.roll_out(2)
    collector.open(1)
    pilot.update()
    second = collector.roll_out(3, unfinished=True)
    assert second.from_bundle_hash == first.from_bundle_hash
    assert second.salt == first.salt
    pilot.update()
    other.update()
    assert (pilot.version, other.version) == (3, 1)


def test_going_back_is_a_new_version_that_officers_sign(
    collector: Collector, enrolled: Callable[[bytes], Laptop]
) -> None:
    pilot, other = enrolled(PILOT), enrolled(OTHER)
    repository, made_ms = collector.school.repository, collector.school.made_ms
    old = repository.read_file(
        "targets/" + trust.target_file_name(
            trust.bundle_target(GROUP), repository.current().bundles[GROUP][0].hex()
        )
    )  # fmt: skip
    held = repository.current()
    different = compile_bundle("demo", collector.school.keys, group=GROUP, version=2, now_ms=made_ms)
    rings = (
        policy.RolloutRing(name="pilot", device_ids=(PILOT,)),
        policy.RolloutRing(name="all", per_mille=1000),
    )
    staged = planning.with_rings(
        repository, held, GROUP, different, rings, policy.RolloutTerms(), unfinished=False, now_ms=made_ms
    )
    collector.publish({trust.bundle_target(GROUP): different} | staged.changed)
    collector.open(1)
    pilot.update()
    assert pilot.version == 2

    held = repository.current()
    back = planning.previous_content(repository, held, GROUP, made_ms + 5)
    ended = planning.without_rings(held, GROUP)
    collector.publish({trust.bundle_target(GROUP): back}, ended.removed)
    assert not repository.current().plans
    for laptop in (pilot, other):
        assert not laptop.update().refused
        assert laptop.version == 3
        assert planning._sections(laptop.trust.bundle) == planning._sections(old)


def test_a_plan_that_does_not_fit_its_bundles_is_not_published(collector: Collector) -> None:
    """What a device would refuse is refused here first: each of these alone."""
    held = collector.school.repository.current()
    new = collector.bundle(2)
    ring = policy.RolloutRing(name="all", per_mille=1000)
    half, narrow = (policy.RolloutRing(name=name, per_mille=n) for name, n in (("half", 500), ("x", 10)))
    for rings in ((), (half,), (ring, narrow)):
        staged = planning.with_rings(
            collector.school.repository, held, GROUP, new, rings, policy.RolloutTerms(),
            unfinished=False, now_ms=1,
        )  # fmt: skip
        with pytest.raises(trust.TrustRefused, match="rings"):
            collector.publish({trust.bundle_target(GROUP): new} | staged.changed)
    good = planning.with_rings(
        collector.school.repository,
        held,
        GROUP,
        new,
        (ring,),
        policy.RolloutTerms(),
        unfinished=False,
        now_ms=1,
    )
    other = collector.bundle(7)
    with pytest.raises(trust.TrustRefused, match="names another"):
        collector.publish({trust.bundle_target(GROUP): other} | good.changed)
    without_plan = {name: data for name, data in good.changed.items() if name.endswith("/previous")}
    with pytest.raises(trust.TrustRefused, match="without the plan"):
        collector.publish({trust.bundle_target(GROUP): new} | without_plan)
    assert collector.school.repository.current().targets_version == held.targets_version
