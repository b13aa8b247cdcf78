"""What a device refuses of what a collector shows it, and why; the policy in force stays each time.

The collector is hostile here: it has its own online key and whatever some officers signed, and serves what it likes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_agent.trust import (
    TrustDamaged,
    TrustUpdate,
    load_trust,
    update_trust,
)
from schoolkeeper_collector.school import roots
from schoolkeeper_policies.officer.signing import sign_metadata
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode, encode
from support.hostile import DEVICE, HostileCollector, Laptop, enrolled_laptop, hostile_copy
from support.school import DAY_MS, GROUP, OTHER_GROUP, School


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    school = School(tmp_path_factory.mktemp("school"))
    yield school
    school.close()


@pytest.fixture
def collector(template: School, tmp_path: Path) -> HostileCollector:
    return hostile_copy(template, tmp_path / "collector")


@pytest.fixture
def laptop(collector: HostileCollector, tmp_path: Path) -> Laptop:
    return enrolled_laptop(collector, tmp_path / "laptop")


def test_two_officers_of_both_duties_change_the_policy(collector: HostileCollector, laptop: Laptop) -> None:
    bundle = collector.new_bundle()
    collector.publish("second-technician", "head", **{f"bundles__{GROUP}": bundle})
    assert laptop.update() == TrustUpdate(changed=True)
    assert (laptop.in_force().bundle, laptop.in_force().bundle_version) == (bundle, 2)
    assert laptop.update() == TrustUpdate(changed=False)


@pytest.mark.requirement("W-17")
@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        (("technician",), "no-safeguarding-signature"),
        (("dsl",), "no-technical-signature"),
        (("technician", "second-technician"), "no-safeguarding-signature"),
        (("dsl", "head"), "no-technical-signature"),
        (("root-1", "root-2"), "signature"),
        ((), "signature"),
    ],
)
def test_one_duty_is_not_enough(
    collector: HostileCollector, laptop: Laptop, signers: tuple[str, ...], reason: str
) -> None:
    collector.publish(*signers, **{f"bundles__{GROUP}": collector.new_bundle()})
    laptop.refuses(reason)


def test_a_signature_over_something_else_counts_for_nothing(
    collector: HostileCollector, laptop: Laptop
) -> None:
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    path = collector.school.folder / "trust" / "metadata" / "2.targets.json"
    document = json.loads(path.read_bytes())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    data = json.dumps(document).encode()
    path.write_bytes(data)
    groups = collector.repository.read_file("metadata/1.groups.json")
    collector.seal(2, {"targets": data, "groups": groups})
    laptop.refuses("signature")


def test_one_key_listed_under_two_ids_is_refused(collector: HostileCollector, laptop: Laptop) -> None:
    """python-tuf alone accepts this root and counts the technician twice."""

    def twice(signed: dict[str, object]) -> None:
        keys, roles = signed["keys"], signed["roles"]
        assert isinstance(keys, dict)
        assert isinstance(roles, dict)
        raw = collector.officer("technician").signing.public_key().public_bytes_raw().hex()
        held = next(k for k, v in keys.items() if v["keyval"]["public"] == raw)
        keys["f" * 64] = dict(keys[held])
        roles["targets"]["keyids"].append("f" * 64)
        duties = signed[trust.DUTIES_FIELD]
        assert isinstance(duties, dict)
        duties["f" * 64] = {"officer": "another", "duty": "safeguarding"}

    collector.next_root("root-1", "root-2", change=twice)
    laptop.refuses("key-twice")
    kept = laptop.state_dir / "trust" / "metadata" / "root_history" / "2.root.json"
    assert not kept.exists(), "a refused root must not stand in the way of the next good one"
    collector.next_root("root-1", "root-2")
    assert laptop.update().changed
    assert laptop.in_force().root_version == 2


def test_a_root_needs_two_root_keys(collector: HostileCollector, laptop: Laptop) -> None:
    collector.next_root("root-1")
    laptop.refuses("signature")


@pytest.mark.parametrize(("role", "reason"), [("targets", "threshold"), ("root", "threshold")])
def test_a_root_may_not_lower_a_threshold(
    collector: HostileCollector, laptop: Laptop, role: str, reason: str
) -> None:
    def lower(signed: dict[str, object]) -> None:
        roles = signed["roles"]
        assert isinstance(roles, dict)
        roles[role]["threshold"] = 1

    collector.next_root("root-1", "root-2", change=lower)
    laptop.refuses(reason)


def test_a_revoked_officer_signs_no_more(collector: HostileCollector, laptop: Laptop) -> None:
    def without(signed: dict[str, object]) -> None:
        keys, roles, duties = signed["keys"], signed["roles"], signed[trust.DUTIES_FIELD]
        assert isinstance(keys, dict)
        assert isinstance(roles, dict)
        assert isinstance(duties, dict)
        raw = collector.officer("technician").signing.public_key().public_bytes_raw().hex()
        gone = next(k for k, v in keys.items() if v["keyval"]["public"] == raw)
        del keys[gone], duties[gone]
        roles["targets"]["keyids"].remove(gone)

    collector.next_root("root-2", "root-3", change=without)
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    laptop.refuses("no-technical-signature")
    collector.publish("second-technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    assert laptop.update().changed
    assert laptop.in_force().root_version == 2


def test_an_older_state_is_refused(collector: HostileCollector, laptop: Laptop) -> None:
    old = collector.repository.read_file("metadata/timestamp.json")
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    assert laptop.update().changed
    collector.served["metadata/timestamp.json"] = old
    laptop.refuses("rollback")


def test_an_older_state_is_refused_also_when_the_cache_was_lost(
    collector: HostileCollector, laptop: Laptop
) -> None:
    old = collector.repository.read_file("metadata/timestamp.json")
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    assert laptop.update().changed
    shutil.rmtree(laptop.state_dir / "trust" / "metadata")
    collector.served["metadata/timestamp.json"] = old
    laptop.refuses("rollback")


def test_files_of_two_states_do_not_mix(collector: HostileCollector, laptop: Laptop) -> None:
    """The snapshot fixes which targets go with it, however well those are signed."""
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    kept = collector.repository.read_file("metadata/2.targets.json")
    other = sign_metadata(kept, collector.officer("head"), None)
    collector.served["metadata/2.targets.json"] = other
    laptop.refuses("altered")


def test_an_altered_bundle_is_refused(collector: HostileCollector, laptop: Laptop) -> None:
    bundle = collector.new_bundle()
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": bundle})
    name = trust.target_file_name(trust.bundle_target(GROUP), trust.sha256(bundle).hex())
    collector.served[f"targets/{name}"] = bundle[:-1] + bytes([bundle[-1] ^ 1])
    laptop.refuses("altered-target")


def test_a_bundle_of_another_group_is_refused(collector: HostileCollector, laptop: Laptop) -> None:
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle(OTHER_GROUP)})
    laptop.refuses("wrong-group")


def test_a_key_statement_of_another_school_is_refused(collector: HostileCollector, laptop: Laptop) -> None:
    held = decode(policy.KeyStatement, collector.files()[trust.KEYS_TARGET])
    collector.publish("technician", "dsl", keys=encode(replace(held, school_id="tai.example")))
    laptop.refuses("wrong-school")


def test_the_online_key_assigns_devices_and_signs_nothing_else(
    collector: HostileCollector, laptop: Laptop
) -> None:
    school = collector.school
    collector.repository.publish_groups({DEVICE: GROUP}, school.school_id, school.keys.online, school.made_ms)
    assert laptop.update().changed
    assert laptop.in_force().group == GROUP
    now = collector.repository.current()
    content = encode(collector.repository.group_map())
    evil = roots.make_groups(
        version=now.groups_version + 1, group_map=content, online=school.keys.online, now_ms=school.made_ms
    )
    document = json.loads(evil)
    document["signed"]["targets"][trust.bundle_target(OTHER_GROUP)] = document["signed"]["targets"][
        trust.GROUPS_TARGET
    ]
    document["signatures"] = []
    data = roots.sign(json.dumps(document).encode(), school.keys.online)
    (school.folder / "trust" / "metadata" / f"{now.groups_version + 1}.groups.json").write_bytes(data)
    targets = collector.repository.read_file(f"metadata/{now.targets_version}.targets.json")
    collector.versions = (now.targets_version, now.snapshot_version, now.timestamp_version)
    collector.seal(now.targets_version, {"targets": targets, "groups": data})
    laptop.refuses("outside-role")


def test_a_stale_policy_stays_in_force_and_is_shown_as_stale(
    collector: HostileCollector, laptop: Laptop
) -> None:
    laptop.later_ms = 15 * DAY_MS
    now_ms = collector.school.made_ms + laptop.later_ms
    message = laptop.refuses("expired")
    assert "expired" in message
    assert laptop.in_force().stale_since(now_ms) == pytest.approx(
        collector.school.made_ms + 14 * DAY_MS, abs=2000
    )
    collector.repository.refresh(collector.school.keys.online, now_ms)
    assert laptop.update().changed
    assert laptop.in_force().stale_since(now_ms) is None


def test_without_a_network_the_policy_is_verified_again_and_holds(
    collector: HostileCollector, laptop: Laptop
) -> None:
    before = laptop.in_force()
    collector.down = True
    message = laptop.refuses("unreachable")
    assert "the cable is out" in message
    assert laptop.in_force() == before


@pytest.mark.parametrize("name", ["bundle", "keys", "map", "targets.json", "groups.json", "1.root.json"])
def test_a_hand_on_the_files_is_noticed_offline(laptop: Laptop, name: str) -> None:
    current = (laptop.state_dir / "trust" / "current").read_text()
    path = laptop.state_dir / "trust" / "sets" / current / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TrustDamaged):
        load_trust(laptop.state_dir)
    assert laptop.update().changed, "the next update repairs it"
    laptop.in_force()


def test_an_update_cut_off_in_the_middle_changes_nothing(collector: HostileCollector, laptop: Laptop) -> None:
    before = laptop.in_force()
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": collector.new_bundle()})
    whole = collector.fetch

    async def cut(name: str) -> bytes | None:
        if name.startswith("targets/bundles/"):
            raise ConnectionError("the cable is out")
        return await whole(name)

    now_ms = collector.school.made_ms + 1000
    update = asyncio.run(update_trust(laptop.state_dir, cut, now_ms=now_ms))
    assert update.refused == "unreachable"
    assert laptop.in_force() == before
    assert laptop.update().changed
