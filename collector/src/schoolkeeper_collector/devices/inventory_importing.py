"""One import from its bytes to the store and the log, for the command line and the console: all of it, or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import tzinfo

from schoolkeeper_collector.devices.inventory import InventoryError, Stored, remove_source, store_inventory
from schoolkeeper_collector.devices.inventory_columns import NAMES, Format
from schoolkeeper_collector.devices.inventory_reading import Read, day_ms, read_inventory
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.store.database import Store

_LONGEST_NAME = 64
_THINGS = {
    "name": "the device's name",
    "system": "the operating system",
    "version": "its version",
    "last_sync": "the last contact",
    "encryption": "encryption",
    "compliance": "compliance or state",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    source: str
    read: Read
    stored: Stored


def import_inventory(
    store: Store,
    school_id: str,
    data: bytes,
    *,
    place: str,
    source: str,
    kind: Format,
    exported_on: str,
    zone: tzinfo,
    actor: str,
    now_ms: int,
) -> Imported:
    """``place`` is what mistakes call the file; an empty ``source`` is the format's own name.

    Raises ``InventoryError`` with every mistake; then nothing changed.
    """
    name = _name(source or NAMES.get(kind, ""))
    told_ms = day_ms(exported_on, now_ms, zone)
    read = read_inventory(data, place, kind, told_ms=told_ms, zone=zone, source=name)
    with store.write() as connection:
        stored = store_inventory(
            connection, school_id, name, read.devices, told_ms=told_ms, now_ms=now_ms, actor=actor
        )
        record_access(
            connection,
            school_id=school_id,
            account_id=actor,
            action="inventory.import",
            object_type="inventory",
            object_id=hashlib.sha256(data).digest(),
            reason=f"{name}: {len(read.devices)} devices",
            now_ms=now_ms,
        )
    return Imported(source=name, read=read, stored=stored)


def forget(store: Store, school_id: str, source: str, *, actor: str, now_ms: int) -> bool:
    """False when no source has this name."""
    with store.write() as connection:
        found = remove_source(connection, school_id, source)
        if found:
            record_access(
                connection,
                school_id=school_id,
                account_id=actor,
                action="inventory.forget",
                object_type="inventory",
                object_id=b"",
                reason=source,
                now_ms=now_ms,
            )
    return found


def sentences(done: Imported) -> list[str]:
    """What was taken, and each thing that was not."""
    read, stored = done.read, done.stored
    changed = f"{stored.added} added, {stored.changed} changed, {stored.gone} no longer told of"
    said = [f"{done.source} tells of {_number(len(read.devices), 'device')}: {changed}"]
    if read.older:
        said.append(
            f"{_number(read.older, 'line')} left out: another line tells of the same serial number with a later contact"
        )
    if read.without:
        things = ", ".join(_THINGS[name] for name in read.without)
        said.append(f"the file has no column for {things}: unknown for each device")
    if read.odd_words:
        words = ", ".join(repr(word) for word in read.odd_words[:5])
        said.append(f"what was said of encryption in other words is taken as unknown: {words}")
    if read.left:
        said.append(f"{_number(read.left, 'column')} not taken: nobody's name or address is kept")
    return said


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InventoryError(
            [
                f"who tells {text[:80]!r} is no name of 1 to {_LONGEST_NAME} characters: write for example Intune"
            ]
        )
    return name
