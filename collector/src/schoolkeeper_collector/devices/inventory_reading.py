"""An inventory export into what it tells of each device. All or nothing: every mistake is named with its line.

Columns that are not taken are counted and left: nobody's name, telephone number or address comes into the collector.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo

from schoolkeeper_collector.devices.inventory import DAY_MS, InventoryError, ToldDevice, same_serial
from schoolkeeper_collector.devices.inventory_columns import (
    COLUMNS,
    NAMES,
    Columns,
    Format,
    encryption_of,
    letters,
    serial_of,
)

LARGEST = 20 * 1024 * 1024
_LONGEST = 256
_NEVER = frozenset({"", "never", "na", "null", "none", "unknown"})
_EPOCH = 1971
"""Exports write the year 1 or 1970 where there was no contact."""
_MONTH_IN_WORDS = (
    "%b %d %Y %I:%M:%S %p",
    "%b %d %Y %I:%M %p",
    "%b %d %Y",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M",
    "%d %b %Y",
)
_TAKEN = tuple(f.name for f in fields(Columns) if f.name not in ("always", "utc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a file tells. ``without``: things that it has no column for, unknown for every device."""

    devices: tuple[ToldDevice, ...]
    without: tuple[str, ...]
    left: int
    """Columns that are not taken."""
    older: int
    """Lines about a serial number that another line heard of later: counted, and not taken."""
    odd_words: tuple[str, ...]
    """Answers about encryption in words that we do not know; taken as unknown."""


def read_inventory(
    data: bytes, place: str, kind: Format, *, told_ms: int, zone: tzinfo, source: str = ""
) -> Read:
    """Read an export; ``zone`` is for times without one. Raises ``InventoryError`` naming ``place`` and line."""
    lines = _lines(data, place)
    number, header = lines[0]
    where = _where(f"{place}, line {number}", header, kind)
    reader = _Reader(
        place=place, told_ms=told_ms, zone=UTC if COLUMNS[kind].utc else zone, where=where, kind=kind
    )
    for number, row in lines[1:]:
        if len(row) != len(header):
            reader.mistakes.append(
                f"{place}, line {number}: {len(row)} fields, the first line has {len(header)}; import the file as "
                f"{source or NAMES.get(kind, 'the system')} exported it"
            )
            continue
        reader.take(number, row)
    if reader.mistakes:
        raise InventoryError(reader.mistakes)
    if not reader.found:
        raise InventoryError([f"{place}: no device after the first line; nothing was changed"])
    devices, older = reader.latest()
    return Read(
        devices=devices,
        without=tuple(
            name for name in _TAKEN if name not in where and name != "identity" and _matters(name, kind)
        ),
        left=len(header) - len(set(where.values())),
        older=older,
        odd_words=tuple(sorted(reader.odd)),
    )


def day_ms(text: str, now_ms: int, zone: tzinfo) -> int:
    """The day of an export, YYYY-MM-DD, at its end; now for today or nothing. Raises ``InventoryError``."""
    if not text.strip():
        return now_ms
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError as error:
        raise InventoryError(
            [f"the day of the export {text[:40]!r} is no day: write it as 2026-11-22"]
        ) from error
    start = int(day.timestamp() * 1000)
    if start > now_ms:
        raise InventoryError([f"the day of the export {text.strip()} lies in the future: correct it"])
    end = int(day.replace(hour=23, minute=59, second=59).timestamp() * 1000)
    return min(end, now_ms)


@dataclass(slots=True, kw_only=True)
class _Reader:
    place: str
    told_ms: int
    zone: tzinfo
    where: dict[str, int]
    kind: Format
    mistakes: list[str] = field(default_factory=list)
    found: list[tuple[int, ToldDevice]] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    odd: set[str] = field(default_factory=set)

    def take(self, line: int, row: list[str]) -> None:
        at = f"{self.place}, line {line}"
        cells = {name: row[column] for name, column in self.where.items()}
        for name, text in cells.items():
            if len(text) > _LONGEST or not text.isprintable():
                self.mistakes.append(
                    f"{at}: {_TITLES[name]} is longer than {_LONGEST} characters or holds one that cannot be shown; "
                    "correct it where the export comes from"
                )
                return
        serial = serial_of(cells["serial"])
        identity = cells.get("identity", "")
        if not (serial or identity):
            self.mistakes.append(
                f"{at}: no serial number and no id, so that nobody can find it; remove the line"
            )
            return
        key = identity or same_serial(serial)
        if key in self.keys:
            self.mistakes.append(f"{at}: {key!r} stands in line {self.keys[key]} already; remove one")
            return
        self.keys[key] = line
        encryption, known = encryption_of(cells.get("encryption", ""))
        if not known:
            self.odd.add(cells["encryption"])
        device = ToldDevice(
            key=key,
            serial=serial,
            name=cells.get("name") or serial or identity,
            operating_system=self._system(cells),
            last_sync_ms=None,
            encryption=encryption,
            compliance=cells.get("compliance", ""),
        )
        try:
            synced = self._time(cells.get("last_sync", ""))
        except ValueError as error:
            self.mistakes.append(f"{at}: {error}")
            return
        self.found.append((line, replace(device, last_sync_ms=synced)))

    def latest(self) -> tuple[tuple[ToldDevice, ...], int]:
        """Of several lines about one serial number the one that was heard last: a device that was enrolled again."""
        kept: dict[str, tuple[int, ToldDevice]] = {}
        for line, device in self.found:
            name = f"serial {same_serial(device.serial)}" if device.serial else f"key {device.key}"
            other = kept.get(name)
            if other is None:
                kept[name] = line, device
                continue
            times = other[1].last_sync_ms or 0, device.last_sync_ms or 0
            if times[0] == times[1]:
                twice = f"{self.place}, line {line}: the serial number {device.serial!r} stands in line {other[0]}"
                raise InventoryError(
                    [f"{twice} already, and no last contact tells which is in use; remove one"]
                )
            if times[1] > times[0]:
                kept[name] = line, device
        return tuple(device for _, device in kept.values()), len(self.found) - len(kept)

    def _system(self, cells: dict[str, str]) -> str:
        system = cells.get("system") or COLUMNS[self.kind].always
        version = cells.get("version", "")
        return version if version.casefold().startswith(system.casefold()) else f"{system} {version}".strip()

    def _time(self, text: str) -> int | None:
        """Unix ms; None for never. A day that can be read in two ways is refused. Raises ``ValueError``."""
        if letters(text) in _NEVER or text.strip("-– ") == "":
            return None
        at = _moment(text)
        if at is None:
            raise ValueError(
                f"the last contact {text!r} is no time like 2026-11-22 09:15; import the file as it was exported: a "
                "spreadsheet rewrites times when it saves them"
            )
        if at.year < _EPOCH:
            return None
        at_ms = int((at if at.tzinfo else at.replace(tzinfo=self.zone)).timestamp() * 1000)
        if at_ms > self.told_ms + DAY_MS:
            raise ValueError(
                f"the last contact {text!r} lies after the export; correct the day of the export"
            )
        return min(at_ms, self.told_ms)


_TITLES = {
    "identity": "the id",
    "serial": "the serial number",
    "name": "the name",
    "system": "the operating system",
    "version": "the version",
    "last_sync": "the last contact",
    "encryption": "encryption",
    "compliance": "compliance",
}


def _moment(text: str) -> datetime | None:
    """A time in which year, month and day cannot be taken for one another."""
    said, zone = text.strip(), None
    for ending in ("(UTC)", "UTC", "GMT"):
        if said.endswith(ending):
            said, zone = said.removesuffix(ending).strip(), UTC
    year_first = said.replace("/", "-") if said[:4].isdecimal() else said
    with suppress(ValueError):
        return _with_zone(datetime.fromisoformat(_shortened(year_first)), zone)
    for shape in _MONTH_IN_WORDS:
        with suppress(ValueError):
            return _with_zone(datetime.strptime(" ".join(said.replace(",", " ").split()), shape), zone)  # noqa: DTZ007
    return None


def _with_zone(at: datetime, zone: tzinfo | None) -> datetime:
    return at if zone is None else at.replace(tzinfo=zone)


def _shortened(text: str) -> str:
    """At most six digits of a second: Python reads no more, and exports write seven."""
    head, dot, rest = text.strip().partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[: min(digits, 6)].ljust(6, '0')}{rest[digits:]}" if dot and digits else text.strip()


def _matters(name: str, kind: Format) -> bool:
    return not (name == "system" and COLUMNS[kind].always)


def _where(at: str, header: list[str], kind: Format) -> dict[str, int]:
    """Which column holds what."""
    named: dict[str, list[int]] = {}
    for column, text in enumerate(header):
        named.setdefault(letters(text), []).append(column)
    found: dict[str, int] = {}
    mistakes = []
    for name in _TAKEN:
        names = getattr(COLUMNS[kind], name)
        present = next((known for known in names if letters(known) in named), None)
        if present is None:
            continue
        columns = named[letters(present)]
        if len(columns) > 1:
            mistakes.append(f"{at}: the column {present!r} stands twice; remove one")
        found[name] = columns[0]
    if "serial" not in found:
        wanted = COLUMNS[kind].serial[0]
        said = ", ".join(header[:8])
        mistakes.append(
            f"{at}: there is no column {wanted!r}, as {NAMES.get(kind, 'a general export')} has; the file has: {said}. "
            "Choose where the file comes from, or export the serial number, too"
        )
    if mistakes:
        raise InventoryError(mistakes)
    return found


def _lines(data: bytes, place: str) -> list[tuple[int, list[str]]]:
    if len(data) > LARGEST:
        raise InventoryError([f"{place}: {len(data)} bytes, more than {LARGEST}; this is no list of devices"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InventoryError([f"{place}, line {line}: not UTF-8; save the sheet as 'CSV UTF-8'"]) from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        lines = [(number, [cell.strip() for cell in row]) for number, row in _numbered(reader)]
    except csv.Error as error:
        raise InventoryError(
            [f"{place}, line {reader.line_num}: {error}; check the quotation marks"]
        ) from error
    lines = [(number, row) for number, row in lines if any(row)]
    if not lines:
        raise InventoryError([f"{place}: empty; choose the file that was exported"])
    return lines


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins: a field may hold a line break."""
    began = 1
    for row in reader:
        yield began, row
        began = reader.line_num + 1  # type: ignore[attr-defined]


def _delimiter(text: str) -> str:
    """What stands most often in the first line: spreadsheets of some languages write semicolons."""
    first = text.partition("\n")[0]
    return max((",", ";", "\t"), key=first.count)
