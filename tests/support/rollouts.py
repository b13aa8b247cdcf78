"""A rollout that officers signed, and devices as the collector's tables hold them."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from schoolkeeper_collector.rollout import planning
from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.store.tables import devices, events
from schoolkeeper_policies.officer.signing import sign_metadata
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import kind_number
from support.school import GROUP, School


def publish_rollout(
    school: School, rings: tuple[policy.RolloutRing, ...], terms: policy.RolloutTerms
) -> policy.RolloutPlan:
    """Version 2 on its way; signed by both duties."""
    repository = school.repository
    held = repository.current()
    new = compile_bundle("default", school.keys, group=GROUP, version=2, now_ms=school.made_ms + 1)
    staged = planning.with_rings(
        repository, held, GROUP, new, rings, terms, unfinished=False, now_ms=school.made_ms
    )
    view = trust.unchecked_targets(repository.read_file(f"metadata/{held.targets_version}.targets.json"))
    files = {
        name: repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
        for name, entry in view.targets.items()
    }
    files |= {trust.bundle_target(GROUP): new} | staged.changed
    data = roots.make_targets(
        version=held.targets_version + 1,
        files=files,
        online_key=school.keys.online.public_key().public_bytes_raw(),
        now_ms=school.made_ms,
    )
    for name in ("technician", "dsl"):
        data = sign_metadata(data, school.officer(name), None)
    repository.publish_targets(data, files, school.keys.online, school.made_ms)
    return repository.current().plans[GROUP]


def add_device(
    connection: Connection,
    school: School,
    device_id: bytes,
    name: str,
    *,
    last_contact_ms: int | None,
    bundle: tuple[bytes, int, int] | None = None,
    enrolled_ms: int = 0,
) -> int:
    """``bundle``: hash, version, since. Returns its number."""
    bundle_hash, version, since_ms = bundle or (b"", 0, None)
    row = {
        "school_id": school.school_id, "device_id": device_id, "device_group": GROUP, "status": "active",
        "simulated": True, "hostname": name, "serial": name.upper(), "vendor": "", "model": "",
        "operating_system": "", "platform": "linux", "agent_version": "0", "machine_hash": b"",
        "key_storage": "file", "token_id": "", "enrolled_ms": enrolled_ms or school.made_ms - 30 * 86_400_000,
        "last_contact_ms": last_contact_ms, "bundle_hash": bundle_hash, "bundle_version": version,
        "bundle_since_ms": since_ms,
    }  # fmt: skip
    result = connection.execute(insert(devices).values(row))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def add_events(
    connection: Connection, school: School, device_no: int, kind: str, count: int, at_ms: int
) -> None:
    """Narrow rows only: what the gate counts."""
    row = {
        "school_id": school.school_id, "device_no": device_no, "blob_no": 1, "position": 0,
        "kind": kind_number(kind), "event_ms": at_ms, "severity": 1,
    }  # fmt: skip
    connection.execute(insert(events), [row] * count)
