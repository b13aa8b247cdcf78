"""Devices that another system told of: a device management, a directory. What it says, and never what we know.

An import makes a source equal to its file. Nothing of it is checked by us: it is shown as told, with its age, and
never as fine. Times are Unix milliseconds. Requirement rows: T-18, W-06 (the denominator); nobody's name is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, delete, insert, select

from schoolkeeper_collector.store.tables import inventory_devices, inventory_sources

DAY_MS = 86_400_000
STALE_DAYS = 14
"""Unless the school set another: `inventory_stale_days`."""


class InventoryError(Exception):
    """The file was not taken. ``mistakes``: one line each, with place and remedy."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Told(StrEnum):
    """An answer of another system. What it did not answer is unknown."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldDevice:
    """One device as its source tells of it. ``compliance`` is the source's own word; empty text was not told."""

    key: str
    """Names the device within its source: the source's own id, else the serial number."""
    serial: str
    name: str
    operating_system: str
    last_sync_ms: int | None
    encryption: Told
    compliance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The last import of one source. ``told_ms``: when the file was exported, else when it was imported."""

    name: str
    told_ms: int
    imported_ms: int
    imported_by: str
    devices: int

    def stale(self, now_ms: int, stale_days: int) -> bool:
        return now_ms - self.told_ms > stale_days * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tale:
    """What a source says of a device, and whether that is too old to say anything about today."""

    source: str
    told_ms: int
    device: ToldDevice
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Every source, the one imported last first, and all that they tell, by name."""

    sources: tuple[Source, ...] = ()
    tales: tuple[Tale, ...] = ()

    def by_serial(self) -> dict[str, tuple[Tale, ...]]:
        """What is told of each serial number, as ``same_serial`` spells it; without those that have none."""
        found: dict[str, list[Tale]] = {}
        for tale in self.tales:
            if tale.device.serial:
                found.setdefault(same_serial(tale.device.serial), []).append(tale)
        return {serial: tuple(tales) for serial, tales in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an import changed. ``gone``: told before by this source, and no longer."""

    added: int
    changed: int
    gone: int


def same_serial(serial: str) -> str:
    """How serial numbers are compared everywhere."""
    return serial.strip().casefold()


def store_inventory(
    connection: Connection,
    school_id: str,
    source: str,
    told: Iterable[ToldDevice],
    *,
    told_ms: int,
    now_ms: int,
    actor: str,
) -> Stored:
    """Makes a source equal to its file. Raises ``InventoryError`` if what is held was told later: nothing changes."""
    held = {one.name: one for one in load_inventory(connection, school_id, now_ms, STALE_DAYS).sources}
    if source in held and held[source].told_ms > told_ms:
        late = f"{source} told of its devices later than this file"
        raise InventoryError(
            [f"{late}: export the devices anew and import that, or correct the day of the export"]
        )
    of_source = inventory_devices.c.school_id == school_id, inventory_devices.c.source == source
    before = {
        row["device_key"]: _device(row)
        for row in connection.execute(select(inventory_devices).where(*of_source)).mappings()
    }
    after = {device.key: device for device in told}
    connection.execute(delete(inventory_devices).where(*of_source))
    this = inventory_sources.c.school_id == school_id, inventory_sources.c.source == source
    connection.execute(delete(inventory_sources).where(*this))
    connection.execute(
        insert(inventory_sources).values(
            school_id=school_id,
            source=source,
            told_ms=told_ms,
            imported_ms=now_ms,
            imported_by=actor,
            devices=len(after),
        )
    )
    if after:
        rows = [_row(school_id, source, device) for device in after.values()]
        connection.execute(insert(inventory_devices), rows)
    return Stored(
        added=len(after.keys() - before.keys()),
        changed=sum(before[key] != after[key] for key in after.keys() & before.keys()),
        gone=len(before.keys() - after.keys()),
    )


def remove_source(connection: Connection, school_id: str, source: str) -> bool:
    """Forgets a source and all that it told; False when there is none of this name."""
    this = inventory_sources.c.school_id == school_id, inventory_sources.c.source == source
    of_source = inventory_devices.c.school_id == school_id, inventory_devices.c.source == source
    connection.execute(delete(inventory_devices).where(*of_source))
    return bool(connection.execute(delete(inventory_sources).where(*this)).rowcount)


def load_inventory(connection: Connection, school_id: str, now_ms: int, stale_days: int) -> Inventory:
    """Two queries, whatever its size."""
    rows = connection.execute(
        select(inventory_sources).where(inventory_sources.c.school_id == school_id)
    ).mappings()
    sources = {
        row["source"]: Source(
            name=row["source"],
            told_ms=row["told_ms"],
            imported_ms=row["imported_ms"],
            imported_by=row["imported_by"],
            devices=row["devices"],
        )
        for row in rows
    }
    told = connection.execute(
        select(inventory_devices).where(inventory_devices.c.school_id == school_id)
    ).mappings()
    tales = [_tale(sources[row["source"]], _device(row), now_ms, stale_days) for row in told]
    return Inventory(
        sources=tuple(sorted(sources.values(), key=lambda one: (-one.imported_ms, one.name))),
        tales=tuple(sorted(tales, key=lambda tale: (tale.device.name.casefold(), tale.source))),
    )


def told_serials(connection: Connection, school_id: str) -> tuple[frozenset[str], int]:
    """Every serial number that a source told of, as ``same_serial`` spells it, and how many devices have none."""
    found = connection.execute(
        select(inventory_devices.c.serial).where(inventory_devices.c.school_id == school_id)
    ).scalars()
    serials = [same_serial(serial) for serial in found]
    return frozenset(serial for serial in serials if serial), sum(not serial for serial in serials)


def _tale(source: Source, device: ToldDevice, now_ms: int, stale_days: int) -> Tale:
    """Old is what was told long ago, and what the source itself has not heard of for long."""
    heard_ms = min(device.last_sync_ms or source.told_ms, source.told_ms)
    stale = now_ms - heard_ms > stale_days * DAY_MS
    return Tale(source=source.name, told_ms=source.told_ms, device=device, stale=stale)


def _device(row: RowMapping) -> ToldDevice:
    return ToldDevice(
        key=row["device_key"],
        serial=row["serial"],
        name=row["name"],
        operating_system=row["operating_system"],
        last_sync_ms=row["last_sync_ms"],
        encryption=Told(row["encryption"]),
        compliance=row["compliance"],
    )


def _row(school_id: str, source: str, device: ToldDevice) -> dict[str, object]:
    return {
        "school_id": school_id,
        "source": source,
        "device_key": device.key,
        "serial": device.serial,
        "name": device.name,
        "operating_system": device.operating_system,
        "last_sync_ms": device.last_sync_ms,
        "encryption": device.encryption.value,
        "compliance": device.compliance,
    }
