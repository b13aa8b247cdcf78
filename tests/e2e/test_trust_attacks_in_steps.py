"""The outsider's attacks that take time or several steps (`trust_attacks.md`): freeze, fast-forward, slow or endless
answers, moved clocks, and what the online key may say of groups and rollouts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest

from schoolkeeper_agent import trust as agent_trust
from schoolkeeper_agent.clock import Moment, TimeFloor, believed_ms
from schoolkeeper_agent.net import MAX_FETCH_BYTES, fetch_from
from schoolkeeper_agent.trust import update_trust
from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import group_moves, signing
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.review import review
from schoolkeeper_policies.officer.staged import read_folder
from schoolkeeper_proto import policy, trust, wire
from schoolkeeper_proto.codec import encode
from support.outsider import DEVICE, Mirror, Scene, copy_of, document
from support.outsider_acts import group_map, rotates_the_online_key
from support.rollouts import publish_rollout
from support.school import DAY_MS, GROUP, OTHER_GROUP, School, wall_ms

pytestmark = [pytest.mark.timeout(300), pytest.mark.requirement("W-17")]
LARGEST = 2**31 - 1
BOOT = b"boot" * 4


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("attacked")
    school = School(folder / "collector")
    scene = Scene(school, folder / "device", Mirror.of(school.folder))
    scene.enrol()
    yield scene
    school.close()


@pytest.fixture
def scene(template: Scene, tmp_path: Path) -> Scene:
    return copy_of(template, tmp_path)


def test_fast_forward_is_undone_by_a_new_online_key(scene: Scene) -> None:
    before, stolen = scene.in_force().bundle, scene.online
    snapshot = scene.mirror.snap(stolen, version=LARGEST)
    scene.mirror.stamp(stolen, snapshot=snapshot, version=LARGEST)
    assert scene.update().refused == ""
    assert scene.in_force().bundle == before
    assert scene.in_force().timestamp_version == LARGEST

    # What the school publishes looks old now, and the device says so.
    scene.publish()
    scene.honest()
    assert scene.update().refused == "rollback"
    assert scene.in_force().bundle == before

    rotates_the_online_key(scene)
    update = scene.update()
    assert (update.changed, update.refused) == (True, ""), update
    assert scene.in_force().bundle_version == 2
    assert scene.in_force().timestamp_version < LARGEST
    assert scene.in_force().root_version == 2

    # And the thief's key is worth nothing any more.
    scene.mirror.stamp(stolen, version=99)
    assert scene.update().refused == "signature"


def test_freeze_keeps_the_policy_and_is_never_fine(scene: Scene) -> None:
    before = scene.in_force_bytes()
    later = wall_ms() + 15 * DAY_MS
    for _ in range(2):
        update = scene.update(now_ms=later)
        assert (update.changed, update.refused, update.is_stale) == (False, "expired", True)
    assert scene.in_force_bytes() == before
    assert scene.in_force().stale_since(later) is not None
    assert scene.in_force().stale_since(wall_ms()) is None


def test_freeze_by_an_expired_timestamp_signed_anew(scene: Scene) -> None:
    """The online key may sign what is over already; it gains nothing by it."""
    before = scene.in_force_bytes()
    scene.mirror.stamp(scene.online, expires="2020-01-01T00:00:00Z")
    assert scene.update().refused == "expired"
    assert scene.in_force_bytes() == before


def test_slow_retrieval_ends_at_a_deadline_and_stops_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_trust, "CHILD_SECONDS", 2.0)
    before, beats = scene.in_force_bytes(), 0

    async def slow(_name: str) -> bytes | None:
        await asyncio.sleep(3_600)
        return None

    async def scenario() -> agent_trust.TrustUpdate:
        nonlocal beats

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.05)
                beats += 1

        beating = asyncio.create_task(beat())
        try:
            return await update_trust(scene.state_dir, slow, now_ms=wall_ms())
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    update = asyncio.run(scenario())
    assert beats > 1, "the rest of the agent goes on"
    assert update.refused == "unreachable"
    assert "longer than 2 s" in update.message
    assert scene.in_force_bytes() == before


def test_endless_data_over_the_network_ends(scene: Scene) -> None:
    before = scene.in_force_bytes()
    sent = 0

    async def endless(_data: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        nonlocal sent
        chunk = encode(wire.FetchChunk(data=b"\x20" * (1 << 16)))
        while True:
            sent += 1 << 16
            yield chunk

    async def scenario() -> agent_trust.TrustUpdate:
        server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Fetch": grpc.unary_stream_rpc_method_handler(endless)
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("schoolkeeper_proto.v1.Uplink", handlers),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await update_trust(scene.state_dir, fetch_from(channel), now_ms=wall_ms())
        finally:
            await server.stop(None)

    update = asyncio.run(scenario())
    assert update.refused == "too-long", update
    assert "longer than" in update.message
    assert sent < 2 * MAX_FETCH_BYTES + (8 << 20)
    assert scene.in_force_bytes() == before


def test_a_wall_clock_set_back_hides_no_staleness(scene: Scene) -> None:
    """Signed time is the floor: neither a clock set back nor one set ahead is believed against it."""
    signed = wall_ms()
    floor = TimeFloor().raised(signed, Moment(wall_ms=signed, monotonic_ms=1_000), BOOT)
    later = Moment(wall_ms=signed - 365 * DAY_MS, monotonic_ms=1_000 + 20 * DAY_MS)
    believed = believed_ms(floor, later, BOOT)
    assert believed == signed + 20 * DAY_MS
    assert scene.update(now_ms=believed).refused == "expired"
    assert scene.in_force().stale_since(believed) is not None
    assert (
        believed_ms(floor, Moment(wall_ms=signed + 3_650 * DAY_MS, monotonic_ms=2_000), BOOT)
        < signed + DAY_MS
    )


def test_a_clock_years_ahead_removes_nothing(scene: Scene) -> None:
    before = scene.in_force_bytes()
    assert scene.update(now_ms=wall_ms() + 10 * 366 * DAY_MS).refused == "expired"
    assert scene.in_force_bytes() == before
    scene.publish()
    scene.honest()
    assert scene.update().changed, "with the time right again all goes on"


def moved_by_the_collector(scene: Scene, group: str) -> None:
    """As the collector itself would say it, whoever orders that."""
    school = scene.school
    school.repository.publish_groups({DEVICE: group}, school.school_id, scene.online, wall_ms())
    scene.honest()


def officers_allow(scene: Scene, group: str, *officers: str, until_ms: int = 0) -> None:
    """The device may come to a weaker group, by these officers' signatures."""
    move = policy.SignedMove(device_id=DEVICE, to_group=group, until_unix_ms=until_ms or wall_ms() + DAY_MS)
    school = scene.school
    folder = staging.stage(school.folder, school.keys, {}, wall_ms(), allowed_moves=(move,))
    for name in officers or scene.signing:
        signing.sign_staged(folder, school.officer(name))
    staging.publish_staged(school.folder, school.keys, wall_ms())
    scene.honest()


def test_a_laxer_group_by_the_online_key_alone_is_refused_and_cuts_off_nothing(scene: Scene) -> None:
    """A split view of the map: the device stays in its group, says so, and still takes that group's newer rules."""
    before = scene.in_force()
    moved_by_the_collector(scene, OTHER_GROUP)
    update = scene.update()
    assert (update.refused, OTHER_GROUP in update.message) == ("group-move", True)
    held = scene.in_force()
    assert (held.group, held.bundle, held.move_refused) == (GROUP, before.bundle, OTHER_GROUP)
    scene.publish()
    scene.honest()
    update = scene.update()
    assert (update.changed, update.refused) == (True, "group-move")
    assert (scene.in_force().group, scene.in_force().bundle_version) == (GROUP, 2)
    # A damaged set is no way round: the device knows its group without it.
    (scene.state_dir / "trust" / "sets" / scene.in_force_name() / "bundle").write_bytes(b"damaged")
    assert scene.update().refused == "group-move"
    assert scene.in_force().group == GROUP
    moved_by_the_collector(scene, GROUP)
    assert scene.update().refused == ""
    assert (scene.in_force().group, scene.in_force().move_refused) == (GROUP, "")


def test_two_officers_let_one_device_go_and_the_way_back_is_free(scene: Scene) -> None:
    officers_allow(scene, OTHER_GROUP)
    moved_by_the_collector(scene, OTHER_GROUP)
    assert scene.update().refused == ""
    assert scene.in_force().group == OTHER_GROUP
    moved_by_the_collector(scene, GROUP)
    assert scene.update().refused == ""
    assert scene.in_force().group == GROUP


def test_a_signed_move_ends_and_is_for_one_device(scene: Scene) -> None:
    officers_allow(scene, OTHER_GROUP, until_ms=wall_ms() + 1000)
    moved_by_the_collector(scene, OTHER_GROUP)
    assert scene.update(now_ms=wall_ms() + DAY_MS).refused == "group-move"
    place = scene.state_dir / "trust" / "place.json"
    place.write_text(place.read_text().replace(DEVICE.hex(), bytes(16).hex()))
    school = scene.school
    school.repository.publish_groups({bytes(16): OTHER_GROUP}, school.school_id, scene.online, wall_ms())
    scene.honest()
    assert scene.update().refused == "group-move"


def test_a_collector_that_stages_a_longer_list_is_found_out(scene: Scene) -> None:
    """The officer's program, and `publish`, work out for themselves which moves are free."""
    school, made = scene.school, group_moves.free_moves
    everywhere = (policy.FreeMoves(to_group=OTHER_GROUP, from_groups=(GROUP,)),)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(group_moves, "free_moves", lambda bundles: (*made(bundles), *everywhere))
        folder = staging.stage(school.folder, school.keys, {}, wall_ms())
    staged = read_folder(folder)
    memory = Memory(root_sha256=trust.sha256(school.repository.root_chain()[0]))
    with pytest.raises(trust.TrustRefused, match="from 'ks2-laptops' to 'staff-laptops'") as caught:
        review(staged, memory, wall_ms())
    assert caught.value.reason == "group-moves"
    with pytest.raises(trust.TrustRefused):
        signing.sign_staged(folder, school.officer("dsl"))
    # Also two officers with another program than ours get it past nobody.
    targets = folder / "targets.json"
    for name in scene.signing:
        targets.write_bytes(signing.sign_metadata(targets.read_bytes(), school.officer(name), None))
    with pytest.raises(trust.TrustRefused, match="from 'ks2-laptops' to 'staff-laptops'"):
        staging.publish_staged(school.folder, school.keys, wall_ms())


def test_without_a_list_of_moves_every_move_is_refused(scene: Scene) -> None:
    """Targets from before there was one, also of a device in the weaker group."""
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    del signed["targets"]["moves"]
    officers = (scene.officer("technician"), scene.officer("dsl"))
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", document(signed, *officers))
    group_map(scene, (DEVICE, OTHER_GROUP))
    assert scene.update().refused == "group-move"
    assert scene.in_force().group == GROUP


# ---- rollouts -------------------------------------------------------------------------------------------


def stage_says(scene: Scene, *groups: policy.GroupStage, school_id: str = "") -> None:
    """The rollout's stage in the online key's word."""
    made = policy.RolloutStage(school_id=school_id or scene.school.school_id, version=9, groups=groups)
    signed = scene.mirror.signed("rollout")
    signed["version"] += 1
    signed["targets"] = {"stage/rollout": scene.mirror.put_target("stage/rollout", encode(made))}
    scene.mirror.put(f"metadata/{signed['version']}.rollout.json", document(signed, scene.online))
    scene.mirror.seal(scene.online)


@pytest.fixture
def plan(scene: Scene) -> policy.RolloutPlan:
    """Version 2 for another device first, then for everybody; ours waits on version 1."""
    rings = (
        policy.RolloutRing(name="pilot", device_ids=(b"other-device-id!",)),
        policy.RolloutRing(name="all", per_mille=1000),
    )
    made = publish_rollout(scene.school, rings, policy.RolloutTerms())
    scene.honest()
    scene.update()
    assert scene.in_force().bundle_version == 1
    assert scene.in_force().waits_for_ring
    return made


def test_a_stage_outside_the_plan_does_nothing(scene: Scene, plan: policy.RolloutPlan) -> None:
    before = scene.in_force().bundle
    open_all = policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=99)
    for said in (
        policy.GroupStage(group=GROUP, rollout_id=b"another rollout!", open_rings=99),
        policy.GroupStage(group=OTHER_GROUP, rollout_id=plan.rollout_id, open_rings=99),
        policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=0),
    ):
        stage_says(scene, said)
        assert scene.update().refused == ""
        assert scene.in_force().bundle == before
    stage_says(scene, open_all, school_id="eastgate.example")
    assert scene.update().refused == "wrong-school"
    assert scene.in_force().bundle == before


def test_an_opened_ring_gives_what_was_signed_and_there_is_no_way_back(
    scene: Scene, plan: policy.RolloutPlan
) -> None:
    opened = policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=99)
    stage_says(scene, opened)
    assert scene.update().changed
    assert scene.in_force().bundle_hash == plan.to_bundle_hash
    for back in (
        policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=0),
        policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=1, paused=True),
    ):
        stage_says(scene, back)
        scene.update()
        assert scene.in_force().bundle_hash == plan.to_bundle_hash


def test_no_way_back_by_way_of_another_group(scene: Scene, plan: policy.RolloutPlan) -> None:
    """The online key moves a device to a group that it may come to, and back, all rings closed: the newer policy."""
    officers_allow(scene, OTHER_GROUP)
    stage_says(scene, policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=2))
    scene.update()
    assert scene.in_force().bundle_hash == plan.to_bundle_hash
    stage_says(scene, policy.GroupStage(group=GROUP, rollout_id=plan.rollout_id, open_rings=0))
    group_map(scene, (DEVICE, OTHER_GROUP))
    scene.update()
    assert scene.in_force().group == OTHER_GROUP
    group_map(scene, (DEVICE, GROUP))
    scene.update()
    assert scene.in_force().group == GROUP
    assert scene.in_force().bundle_hash == plan.to_bundle_hash, "an older policy came back"


def test_the_memory_of_the_newer_policy_outlives_a_lost_cache(scene: Scene) -> None:
    """A damaged cache on the device, then yesterday's repository: what is in force is a second memory."""
    yesterday = dict(scene.mirror.files)
    scene.publish()
    scene.honest()
    assert scene.update().changed
    for name in ("timestamp", "snapshot", "targets", "groups", "rollout"):
        (scene.state_dir / "trust" / "metadata" / f"{name}.json").unlink(missing_ok=True)
    before = scene.in_force_bytes()
    scene.mirror.files = yesterday
    assert scene.update().refused == "rollback"
    assert scene.in_force_bytes() == before
    assert json.loads(before["targets.json"])["signed"]["version"] == 2
