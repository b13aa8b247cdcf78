"""Who runs which policy since when: every active device by the hash that it reported, the newest version first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from schoolkeeper_collector.console.fleet import Contact, contact_of
from schoolkeeper_collector.store.tables import devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The devices of a group that say they run the same bundle. An empty hash: they have not said."""

    group: str
    version: int
    bundle_hash: bytes
    devices: int
    heard_today: int
    """Of the others nobody knows what they run now."""
    first_since_ms: int | None
    last_since_ms: int | None


def versions_in_force(connection: Connection, school_id: str, now_ms: int) -> tuple[Version, ...]:
    """By group, then version."""
    rows = connection.execute(
        select(
            devices.c.device_group,
            devices.c.bundle_hash,
            devices.c.bundle_version,
            devices.c.bundle_since_ms,
            devices.c.last_contact_ms,
        ).where(devices.c.school_id == school_id, devices.c.status == "active")
    ).all()
    together: dict[tuple[str, bytes], list[tuple[int, int | None, bool]]] = {}
    for row in rows:
        fresh = contact_of("active", row.last_contact_ms, now_ms) in (Contact.ONLINE, Contact.TODAY)
        together.setdefault((row.device_group, bytes(row.bundle_hash)), []).append(
            (row.bundle_version, row.bundle_since_ms, fresh)
        )
    found = []
    for (group, bundle_hash), held in together.items():
        since = [at for _, at, _ in held if at is not None]
        found.append(
            Version(
                group=group,
                version=max(version for version, _, _ in held) if bundle_hash else 0,
                bundle_hash=bundle_hash,
                devices=len(held),
                heard_today=sum(fresh for _, _, fresh in held),
                first_since_ms=min(since, default=None),
                last_since_ms=max(since, default=None),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.group, -one.version, one.bundle_hash)))
