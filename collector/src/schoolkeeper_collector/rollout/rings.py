"""The rings of a rollout as a technician writes them: ``pilot.csv,10%,50%,all``.

A file names devices in its column ``device``, one per line: a host name, a serial number, an asset tag or a device id.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.tables import assets, devices
from schoolkeeper_proto.policy import RolloutRing
from schoolkeeper_proto.rollout import EVERYBODY, MAX_RINGS

_COLUMN = "device"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d)?)%")
_HOW = "write it as pilot.csv,10%,50%,all: files of devices first, then rising percentages, then all"


class RingsError(Exception):
    """Rings that cannot be taken; names the part or line, and the remedy."""


def parse_rings(text: str, connection: Connection, school_id: str, group: str) -> tuple[RolloutRing, ...]:
    """Raises ``RingsError``. Percentages count the devices of earlier rings in; the last ring is everybody."""
    rings: list[RolloutRing] = []
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        percent = _PERCENT.fullmatch(part)
        if part == "all" or percent:
            share = EVERYBODY if percent is None else round(float(percent.group(1)) * EVERYBODY / 100)
            if not 0 < share <= EVERYBODY:
                raise RingsError(f"--rings: {part!r} is no share of the devices; {_HOW}")
            if rings and share <= rings[-1].per_mille:
                raise RingsError(f"--rings: {part!r} does not widen the ring before it; {_HOW}")
            rings.append(RolloutRing(name=part, per_mille=share))
        elif part.endswith(".csv"):
            if rings and rings[-1].per_mille:
                raise RingsError(f"--rings: the file {part} comes after a percentage; {_HOW}")
            named = named_devices(Path(part), connection, school_id, group)
            rings.append(RolloutRing(name=Path(part).stem, device_ids=named))
        else:
            raise RingsError(f"--rings: {part!r} is neither a .csv file, a percentage nor 'all'; {_HOW}")
    if not rings or rings[-1].per_mille != EVERYBODY:
        raise RingsError(f"--rings: the last ring must be 'all'; {_HOW}")
    if len(rings) > MAX_RINGS:
        raise RingsError(f"--rings: {len(rings)} rings, {MAX_RINGS} are allowed")
    return tuple(rings)


def named_devices(path: Path, connection: Connection, school_id: str, group: str) -> tuple[bytes, ...]:
    """The device ids that a file names; raises ``RingsError`` with every line that names none of the group."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RingsError(f"--rings: {path} cannot be read as UTF-8 text: {error}") from error
    rows = csv.DictReader(io.StringIO(text))
    if _COLUMN not in (rows.fieldnames or ()):
        raise RingsError(f"{path}:1: the first line must name the column {_COLUMN!r}")
    known = _known(connection, school_id, group)
    found: dict[bytes, None] = {}
    mistakes = []
    for row in rows:
        wanted = (row[_COLUMN] or "").strip()
        if not wanted:
            continue
        ids = known.get(wanted.casefold(), set())
        if len(ids) == 1:
            found[next(iter(ids))] = None
        else:
            what = "no enrolled device" if not ids else f"{len(ids)} devices"
            mistakes.append(
                f"{path}:{rows.line_num}: {wanted!r} names {what} of the group {group}: give its device id"
            )
    if mistakes:
        raise RingsError("\n".join(mistakes))
    if not found:
        raise RingsError(f"{path} names no device: a first ring without devices tries nothing")
    return tuple(found)


def _known(connection: Connection, school_id: str, group: str) -> dict[str, set[bytes]]:
    """What a device of the group may be called -> device ids."""
    columns = devices.c.device_id, devices.c.hostname, devices.c.serial
    query = select(*columns).where(
        devices.c.school_id == school_id, devices.c.device_group == group, devices.c.status == "active"
    )
    tags: dict[str, str] = {}
    for tag, serial in connection.execute(
        select(assets.c.asset_tag, assets.c.serial).where(assets.c.school_id == school_id)
    ):
        tags[serial.strip().casefold()] = tag
    known: dict[str, set[bytes]] = {}
    for row in connection.execute(query):
        serial = row.serial.strip().casefold()
        for name in (row.device_id.hex(), row.hostname, serial, tags.get(serial, "")):
            if name:
                known.setdefault(name.strip().casefold(), set()).add(bytes(row.device_id))
    return known
