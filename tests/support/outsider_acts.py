"""What the outsider does (`tests/e2e/trust_attacks.md`): each act rewrites the mirror of a published school.

An act uses only the keys that its row of the list says the attacker has; the comments say where people were deceived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_collector.school import key_changes, staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.key_changes import KeyWish
from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_policies.officer import signing
from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import encode
from support.outsider import (
    DEVICE,
    Document,
    Mirror,
    Scene,
    document,
    key_id,
    key_object,
    sha256,
    signature,
)
from support.school import GROUP, OTHER_GROUP, School, wall_ms

BUNDLE = f"bundles/{GROUP}"
OTHER_BUNDLE = f"bundles/{OTHER_GROUP}"
DUTIES = "x-schoolkeeper-duties"
BOTH = ("technician", "dsl")


@dataclass(frozen=True)
class Given:
    template: Scene
    yesterday: dict[str, bytes]
    """Everything that was published before version 2."""


# ---- what the attacks are made of ----------------------------------------------------------------------


def other_bundle(scene: Scene, group: str = GROUP) -> bytes:
    """A bundle that nobody signed: well made, of a later version."""
    return compile_bundle("default", scene.school.keys, group=group, version=99, now_ms=wall_ms())


def targets_by(scene: Scene, change: Callable[[Document], None], *keys: Ed25519PrivateKey) -> None:
    """A targets file of the attacker's, signed by these keys, named by a snapshot and timestamp of the online key."""
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    change(signed)
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", document(signed, *keys))
    scene.mirror.seal(scene.online)


def names_other_bundle(scene: Scene) -> Callable[[Document], None]:
    entry = scene.mirror.put_target(BUNDLE, other_bundle(scene))
    return lambda signed: signed["targets"].update({BUNDLE: entry})


def root_by(scene: Scene, change: Callable[[Document], None], *keys: Ed25519PrivateKey) -> None:
    """The next root, signed by these keys (root keys 1 and 2 unless given)."""
    signed = scene.mirror.signed("root")
    signed["version"] += 1
    name = f"metadata/{signed['version']}.root.json"
    change(signed)
    scene.mirror.put(name, document(signed, *(keys or (scene.root_key(1), scene.root_key(2)))))


def group_map(
    scene: Scene, *assigned: tuple[bytes, str], school_id: str = "", more: Document | None = None
) -> None:
    """The group map in the online key's word."""
    entries = tuple(policy.GroupAssignment(device_id=device, group=group) for device, group in assigned)
    made = policy.GroupMap(school_id=school_id or scene.school.school_id, version=2, assignments=entries)
    signed = scene.mirror.signed("groups")
    signed["version"] += 1
    signed["targets"] = {"groups/map": scene.mirror.put_target("groups/map", encode(made))} | (more or {})
    scene.mirror.evil.remove(encode(made))  # a target of the online key's role may lie in the cache
    scene.mirror.put(f"metadata/{signed['version']}.groups.json", document(signed, scene.online), evil=False)
    scene.mirror.seal(scene.online)


# ---- the attacks: each rewrites the mirror -------------------------------------------------------------

Act = Callable[[Scene, Given], None]


def newly_published(scene: Scene) -> None:
    """There is something to fetch: the school published since."""
    scene.publish()
    scene.honest()


def arbitrary_software(scene: Scene, _: Given) -> None:
    newly_published(scene)
    scene.mirror.put(scene.mirror.file_of(BUNDLE), other_bundle(scene))


def one_bit(scene: Scene, _: Given) -> None:
    newly_published(scene)
    held = bytearray(scene.mirror.files[scene.mirror.file_of(BUNDLE)])
    held[len(held) // 2] ^= 1
    scene.mirror.put(scene.mirror.file_of(BUNDLE), bytes(held))


def arbitrary_keys(scene: Scene, _: Given) -> None:
    """The key statement says who may command devices and what they seal to; here the officers changed it."""
    publish_change(scene, KeyWish(new_ledger_key=True), *BOTH)
    held = bytearray(scene.mirror.files[scene.mirror.file_of("keys")])
    held[-1] ^= 1
    scene.mirror.put(scene.mirror.file_of("keys"), bytes(held))


def arbitrary_targets(scene: Scene, _: Given) -> None:
    targets_by(scene, names_other_bundle(scene), scene.online, Ed25519PrivateKey.generate())


def rollback_timestamp(scene: Scene, given: Given) -> None:
    scene.mirror.files = dict(given.yesterday)


def rollback_snapshot(scene: Scene, _: Given) -> None:
    scene.mirror.stamp(scene.online, snapshot="metadata/1.snapshot.json")


def rollback_targets(scene: Scene, _: Given) -> None:
    old = scene.mirror.files["metadata/1.targets.json"]
    entry = {"version": 1, "length": len(old), "hashes": {"sha256": sha256(old)}}
    name = scene.mirror.snap(scene.online, lambda meta: meta["targets.json"].update(entry))
    scene.mirror.stamp(scene.online, snapshot=name)


def old_targets_under_a_new_number(scene: Scene, _: Given) -> None:
    old = scene.mirror.files["metadata/1.targets.json"]
    scene.mirror.put("metadata/3.targets.json", old, evil=False)
    scene.mirror.seal(scene.online)


def publish_change(scene: Scene, wish: KeyWish, *officers: str) -> None:
    """An honest change of keys or people; the mirror shows it."""
    school = scene.school
    made = key_changes.prepare(school.folder, school.keys, wish, wall_ms())
    changed = {"keys": encode(made.statement)}
    folder = staging.stage(
        school.folder, school.keys, changed, wall_ms(), new_root=made.root, online_key=made.online_key
    )
    for name in officers:
        signing.sign_staged(folder, school.officer(name))
    staging.publish_staged(school.folder, school.keys, wall_ms())
    scene.honest()


def rotates_the_online_key(scene: Scene) -> None:
    """What a school does when the online key was in other hands."""
    publish_change(scene, KeyWish(new_online_key=True), "root-1", "root-2", *BOTH)
    scene.school.keys = load_keys(scene.school.folder)


def rotated(scene: Scene) -> None:
    """An honest root 2, which the device takes: the DSL has left."""
    publish_change(scene, KeyWish(leaving=("dsl",)), "root-1", "root-2", "technician", "head")
    scene.signing = ("technician", "head")
    assert scene.update().changed
    assert scene.in_force().root_version == 2


def rollback_root(scene: Scene, _: Given) -> None:
    rotated(scene)
    scene.mirror.put("metadata/3.root.json", scene.mirror.files["metadata/1.root.json"], evil=False)


def root_skips_a_version(scene: Scene, _: Given) -> None:
    root_by(scene, lambda signed: signed.update(version=signed["version"] + 1))


def mix_and_match_bundle(scene: Scene, _: Given) -> None:
    old = scene.mirror.files[scene.mirror.file_of(BUNDLE)]
    newly_published(scene)
    scene.mirror.put(scene.mirror.file_of(BUNDLE), old, evil=False)


def mix_and_match_snapshot(scene: Scene, _: Given) -> None:
    old = scene.mirror.files[scene.mirror.newest("snapshot")]
    newly_published(scene)
    scene.mirror.put(scene.mirror.newest("snapshot"), old, evil=False)


def missing_targets_in_snapshot(scene: Scene, _: Given) -> None:
    scene.mirror.stamp(
        scene.online, snapshot=scene.mirror.snap(scene.online, lambda meta: meta.pop("targets.json"))
    )


def missing_groups_in_snapshot(scene: Scene, _: Given) -> None:
    scene.mirror.stamp(
        scene.online, snapshot=scene.mirror.snap(scene.online, lambda meta: meta.pop("groups.json"))
    )


def missing_bundle(scene: Scene, _: Given) -> None:
    newly_published(scene)
    del scene.mirror.files[scene.mirror.file_of(BUNDLE)]


def wrong_group_bundle(scene: Scene, _: Given) -> None:
    newly_published(scene)
    staff = scene.mirror.files[scene.mirror.file_of(OTHER_BUNDLE)]
    scene.mirror.put(scene.mirror.file_of(BUNDLE), staff)


def relabels(signed: Document) -> None:
    signed["targets"][BUNDLE] = signed["targets"][OTHER_BUNDLE]


def relabelled_by(*names: str) -> Act:
    def act(scene: Scene, _: Given) -> None:
        staff = scene.mirror.signed("targets")["targets"][OTHER_BUNDLE]["hashes"]["sha256"]
        data = scene.mirror.files[scene.mirror.file_of(OTHER_BUNDLE)]
        scene.mirror.put(f"targets/bundles/{staff}.{GROUP}", data)
        targets_by(scene, relabels, *(scene.officer(name) for name in names))
        if len(names) > 1:
            scene.mirror.evil.clear()  # all of it is properly signed

    return act


def endless_timestamp(scene: Scene, _: Given) -> None:
    name = "metadata/timestamp.json"
    scene.mirror.put(name, scene.mirror.files[name] + b" " * (32 << 20))


def endless_root(scene: Scene, _: Given) -> None:
    scene.mirror.put("metadata/2.root.json", scene.mirror.files["metadata/1.root.json"] + b" " * (32 << 20))


def endless_bundle(scene: Scene, _: Given) -> None:
    newly_published(scene)
    name = scene.mirror.file_of(BUNDLE)
    scene.mirror.put(name, scene.mirror.files[name] + b"\x00" * (16 << 20))


def signature_flood(scene: Scene, _: Given) -> None:
    """As many as fit: false ones, each for an officer's key."""
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    officers = scene.mirror.signed("root")["roles"]["targets"]["keyids"]
    false = [{"keyid": officers[n % len(officers)], "sig": f"{n:0128x}"} for n in range(8_000)]
    made = json.dumps({"signatures": false, "signed": signed}).encode()
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", made)
    scene.mirror.seal(scene.online)


def signed_by(*names: str) -> Act:
    def act(scene: Scene, _: Given) -> None:
        targets_by(scene, names_other_bundle(scene), *(scene.officer(name) for name in names))

    return act


def one_signature_twice(scene: Scene, _: Given) -> None:
    """The technician's, once under the right name and once under the DSL's."""
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    names_other_bundle(scene)(signed)
    one, two = scene.officer("technician"), scene.officer("dsl")
    entries = [signature(signed, one), signature(signed, one, under=key_id(two)), signature(signed, one)]
    made = json.dumps({"signatures": entries, "signed": signed}).encode()
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", made)
    scene.mirror.seal(scene.online)


def one_key_again(written: Callable[[str], str], under: str = "aa" * 32) -> Act:
    """The root's signers list the technician's key again, as a safeguarding officer's; the technician signs twice."""

    def act(scene: Scene, _: Given) -> None:
        key = scene.officer("technician")
        again = key_object(key)
        again["keyval"]["public"] = written(again["keyval"]["public"])

        def change(signed: Document) -> None:
            signed["keys"][under] = again
            signed["roles"]["targets"]["keyids"].append(under)
            signed[DUTIES][under] = {"officer": "dsl-2", "duty": "safeguarding"}

        root_by(scene, change)
        signed = scene.mirror.signed("targets")
        signed["version"] += 1
        names_other_bundle(scene)(signed)
        entries = [signature(signed, key), signature(signed, key, under=under)]
        made = json.dumps({"signatures": entries, "signed": signed}).encode()
        scene.mirror.put(f"metadata/{signed['version']}.targets.json", made)
        scene.mirror.seal(scene.online)

    return act


def one_person_two_keys(scene: Scene, _: Given) -> None:
    """The root gives the technician a second key, for safeguarding; the technician signs with both."""
    second = Ed25519PrivateKey.generate()

    def change(signed: Document) -> None:
        signed["keys"][key_id(second)] = key_object(second)
        signed["roles"]["targets"]["keyids"].append(key_id(second))
        signed[DUTIES][key_id(second)] = {"officer": "technician", "duty": "safeguarding"}

    root_by(scene, change)
    scene.mirror.evil.clear()  # the root itself is properly signed: it may be kept
    targets_by(scene, names_other_bundle(scene), scene.officer("technician"), second)


def officer_names_own_duty(scene: Scene, _: Given) -> None:
    names = names_other_bundle(scene)
    second = scene.officer("second-technician")

    def change(signed: Document) -> None:
        names(signed)
        signed[DUTIES] = {key_id(second): {"officer": "dsl", "duty": "safeguarding"}}

    targets_by(scene, change, scene.officer("technician"), second)


def revoked_officer(scene: Scene, _: Given) -> None:
    rotated(scene)
    targets_by(scene, names_other_bundle(scene), scene.officer("technician"), scene.officer("dsl"))


def old_root_threshold(scene: Scene, _: Given) -> None:
    """A root, and a whole repository under it, of the attacker's keys; none of the old threshold signed."""
    mine = [Ed25519PrivateKey.generate() for _ in range(5)]

    def change(signed: Document) -> None:
        signed["keys"] = {key_id(key): key_object(key) for key in mine}
        for role, keys in (
            ("root", mine[:2]),
            ("targets", mine[2:4]),
            ("snapshot", mine[4:]),
            ("timestamp", mine[4:]),
        ):
            signed["roles"][role]["keyids"] = [key_id(key) for key in keys]
        duties = zip(mine[2:4], ("technical", "safeguarding"), strict=True)
        signed[DUTIES] = {key_id(k): {"officer": duty, "duty": duty} for k, duty in duties}

    root_by(scene, change, *mine[:2])
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    names_other_bundle(scene)(signed)
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", document(signed, *mine[2:4]))
    scene.mirror.seal(mine[4])


def root_below_threshold(scene: Scene, _: Given) -> None:
    """One root key's signature, listed for the other two as well."""
    signed = scene.mirror.signed("root")
    signed["version"] += 1
    signed[DUTIES][key_id(scene.officer("second-technician"))]["duty"] = "safeguarding"
    one = scene.root_key(1)
    entries = [signature(signed, one)] + [
        signature(signed, one, under=key_id(scene.root_key(n))) for n in (2, 3)
    ]
    made = json.dumps({"signatures": entries, "signed": signed}).encode()
    scene.mirror.put(f"metadata/{signed['version']}.root.json", made)


def root_threshold(role: str, number: object) -> Act:
    def act(scene: Scene, _: Given) -> None:
        root_by(scene, lambda signed: signed["roles"][role].update(threshold=number))
        targets_by(scene, names_other_bundle(scene), scene.officer("technician"))

    return act


def snapshot_as_timestamp(scene: Scene, _: Given) -> None:
    """One online key signs both roles, so only the type tells them apart."""
    signed = scene.mirror.signed("snapshot")
    signed["version"] += 7
    scene.mirror.put("metadata/timestamp.json", document(signed, scene.online))


def groups_as_targets(scene: Scene, _: Given) -> None:
    """The group map's metadata has the type of targets, and the online key may sign it."""
    signed = scene.mirror.signed("targets")
    signed["version"] += 1
    names_other_bundle(scene)(signed)
    data = document(signed, scene.online)
    scene.mirror.put(f"metadata/{signed['version']}.targets.json", data)
    scene.mirror.seal(scene.online)


def reindented_targets(scene: Scene, _: Given) -> None:
    newly_published(scene)
    name = scene.mirror.newest("targets")
    scene.mirror.put(name, json.dumps(scene.mirror.read(name), indent=3, sort_keys=True).encode())


def twice(scene: Scene, name: str, field: str, evil_first: bool) -> None:
    """A member of the top object that stands there two times, once as signed and once as the attacker likes it."""
    held = scene.mirror.read(name)
    evil = json.loads(json.dumps(held))
    evil["signed"]["version"] += 50
    parts = [json.dumps(each[field]) for each in ((evil, held) if evil_first else (held, evil))]
    rest = "".join(f', "{key}": {json.dumps(value)}' for key, value in held.items() if key != field)
    scene.mirror.put(name, f'{{"{field}": {parts[0]}, "{field}": {parts[1]}{rest}}}'.encode())


def duplicate_signed(evil_first: bool) -> Act:
    def act(scene: Scene, _: Given) -> None:
        scene.publish()
        scene.honest()
        twice(scene, "metadata/timestamp.json", "signed", evil_first)

    return act


def duplicate_version(scene: Scene, _: Given) -> None:
    """Inside the signed part, where the last of the two makes the signature good."""
    newly_published(scene)
    held = scene.mirror.files["metadata/timestamp.json"]
    made = held.replace(b'"_type"', b'"version": 900, "_type"', 1)
    assert made != held
    scene.mirror.put("metadata/timestamp.json", made)


def malformed(data: bytes, name: str = "metadata/timestamp.json") -> Act:
    return lambda scene, _: scene.mirror.put(name, data)


def timestamp_with(**fields: Any) -> Act:
    """Signed by the online key, so that only the value itself can be refused."""
    return lambda scene, _: scene.mirror.stamp(scene.online, **fields)


def long_number(scene: Scene, _: Given) -> None:
    held = scene.mirror.files["metadata/timestamp.json"]
    made = re.sub(rb'"version": ?2', b'"version":' + b"9" * 5_000, held)
    assert made != held
    scene.mirror.put("metadata/timestamp.json", made)


def snapshot_entry(**fields: object) -> Act:
    """What a snapshot of the online key says of the targets."""

    def act(scene: Scene, _: Given) -> None:
        targets_by(scene, names_other_bundle(scene), scene.officer("technician"))
        name = scene.mirror.snap(scene.online, lambda meta: meta["targets.json"].update(fields))
        scene.mirror.evil.remove(scene.mirror.files[name])  # the online key may sign a snapshot
        scene.mirror.stamp(scene.online, snapshot=name)

    return act


def bundle_entry(**fields: object) -> Act:
    """What two officers, deceived, sign of the bundle."""

    def act(scene: Scene, _: Given) -> None:
        data = other_bundle(scene)
        entry = scene.mirror.put_target(BUNDLE, data) | fields
        claimed = entry["hashes"].get("sha256", "")
        # Where such an entry makes a device look.
        scene.mirror.put(f"targets/bundles/{claimed}.{GROUP}", data)
        targets_by(
            scene,
            lambda signed: signed["targets"].update({BUNDLE: entry}),
            *(scene.officer(name) for name in BOTH),
        )
        scene.mirror.evil.clear()  # the targets are signed by two

    return act


def traversal_by_officers(scene: Scene, _: Given) -> None:
    """Officers, deceived, sign a target whose name climbs; the online key puts the device into the group it names."""
    group = "../../../../escaped"
    entry = scene.mirror.put_target(f"bundles/{group}", other_bundle(scene))
    targets_by(
        scene,
        lambda signed: signed["targets"].update({f"bundles/{group}": entry}),
        *(scene.officer(name) for name in BOTH),
    )
    scene.mirror.evil.clear()  # the targets are signed by two, and a cached target lies under a flat name
    group_map(scene, (DEVICE, group))


def into_group(group: str) -> Act:
    return lambda scene, _: group_map(scene, (DEVICE, group))


def key_of_another_kind(**fields: str) -> Act:
    def act(scene: Scene, _: Given) -> None:
        which = key_id(scene.officer("technician"))
        root_by(scene, lambda signed: signed["keys"][which].update(fields))

    return act


def delegated_outsider(scene: Scene, _: Given) -> None:
    """The technician alone adds a role of their own above everything, and drops the bundle from the officers' list."""
    mine = Ed25519PrivateKey.generate()
    entry = scene.mirror.put_target(BUNDLE, other_bundle(scene))
    outside = {
        "_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2030-01-01T00:00:00Z",
        "targets": {BUNDLE: entry},
    }  # fmt: skip
    scene.mirror.put("metadata/1.mine.json", document(outside, mine))

    def change(signed: Document) -> None:
        del signed["targets"][BUNDLE]
        signed["delegations"]["keys"][key_id(mine)] = key_object(mine)
        role = {
            "name": "mine",
            "keyids": [key_id(mine)],
            "threshold": 1,
            "terminating": True,
            "paths": ["*", "*/*"],
        }
        signed["delegations"]["roles"].insert(0, role)

    targets_by(scene, change, scene.officer("technician"))


def outside_the_role(scene: Scene, _: Given) -> None:
    """The online key's own role names an old bundle and a plan by which the device would go back to it."""
    old = scene.mirror.files["metadata/1.targets.json"]
    entry = json.loads(old)["signed"]["targets"][BUNDLE]
    group_map(
        scene, (DEVICE, GROUP), more={BUNDLE: entry, f"{BUNDLE}/previous": entry, f"rollout/{GROUP}": entry}
    )


def group_map_duplicates(scene: Scene, _: Given) -> None:
    group_map(scene, (DEVICE, OTHER_GROUP), (DEVICE, GROUP))


def garbage_map(scene: Scene, _: Given) -> None:
    """The online key signs bytes that are no map: a reason word that the DSL does not hear of would be a way in."""
    signed = scene.mirror.signed("groups")
    signed["version"] += 1
    signed["targets"] = {"groups/map": scene.mirror.put_target("groups/map", b"\xff" * 99)}
    scene.mirror.evil.clear()  # a target of the online key's role may lie in the cache
    scene.mirror.put(f"metadata/{signed['version']}.groups.json", document(signed, scene.online), evil=False)
    scene.mirror.seal(scene.online)


def garbage_bundle(scene: Scene, _: Given) -> None:
    """Two officers, deceived, sign bytes that are no bundle."""
    entry = scene.mirror.put_target(BUNDLE, b"\xff" * 4_000)
    keys = (scene.officer(name) for name in BOTH)
    targets_by(scene, lambda signed: signed["targets"].update({BUNDLE: entry}), *keys)
    scene.mirror.evil.clear()


def map_of_another_school(scene: Scene, _: Given) -> None:
    group_map(scene, (DEVICE, GROUP), school_id="eastgate.example")


def claims_another_school(scene: Scene, _: Given) -> None:
    """Another school's whole repository, properly signed there."""
    other = School(scene.school.folder.parent / "other-school", school_id="eastgate.example")
    try:
        other_scene = Scene(other, scene.state_dir, Mirror.of(other.folder))
        for _number in range(3):
            other_scene.publish()
        scene.mirror.files = Mirror.of(other.folder).files
    finally:
        other.close()
