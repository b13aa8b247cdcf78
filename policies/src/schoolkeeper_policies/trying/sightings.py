"""What a rehearsal reads: programs that started or were refused, an hour's aggregates, media that were attached.

A file of JSON lines holds one object per line, its keys the fields of ``Sighting`` (``person`` and ``aggregate`` in
hexadecimal; ``what`` is written out as path, sha256, package, or serial, vendor, product, bus, encryption). An SQLite
export has a table ``sightings`` with columns of the same names. Both may come from any system that saw such events.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from schoolkeeper_policies.filekinds import MAX_LOOKED_AT, looks_like
from schoolkeeper_policies.problems import PolicyError, Position, Problem

Kind = Literal["started", "refused", "usage", "medium"]
_PROGRAM: Final = ("path", "sha256", "package")
_MEDIUM: Final = ("serial", "vendor", "product", "bus", "encryption")
_COLUMNS: Final = ("kind", "device", "group", "at_ms", "person", "place", "times", "hour_ms", "aggregate")
_MOST_PROBLEMS: Final = 20
_FORM: Final = (
    'give JSON lines such as {"kind": "started", "device": "d1", "group": "ks2-laptops", "at_ms": 1795340000000, '
    '"path": "/usr/bin/x"}, or an SQLite export'
)


class Sighting(NamedTuple):
    """One event. A tuple, since a rehearsal reads a million of them.

    ``at_ms`` is Unix milliseconds; for usage, of the hour's first start. ``person`` is a pseudonym, or empty.
    ``what`` is (path, sha256, package) or (serial, vendor, product, bus, encryption). ``times``, ``hour_ms`` and
    ``aggregate`` are of usage: a later sighting with the same ``aggregate`` replaces an earlier one.
    """

    kind: Kind
    device: str
    group: str
    at_ms: int
    person: bytes
    place: str
    what: tuple[str, ...]
    times: int = 1
    hour_ms: int = 0
    aggregate: bytes = b""


def read_sightings(file: str | Path) -> Iterator[Sighting]:
    """From JSON lines or an SQLite export; raises ``PolicyError`` with the lines that cannot be used."""
    path = Path(file)
    try:
        with path.open("rb") as opened:
            head = opened.read(16)
    except OSError as error:
        raise _refused(str(file), 0, f"it cannot be read ({error.strerror})") from error
    if head.startswith(b"SQLite format 3"):
        return _from_sqlite(path)
    if head.strip() and not head.lstrip().startswith(b"{"):
        with path.open("rb") as opened:
            found = looks_like(opened.read(MAX_LOOKED_AT))
        raise _refused(str(file), 0, f"these are not events; it looks like {found}")
    return _from_lines(path)


def _from_lines(path: Path) -> Iterator[Sighting]:
    problems: list[Problem] = []
    load = json.loads
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _sighting(load(line))
            except (ValueError, TypeError, KeyError) as error:
                if line.strip():
                    problems += _refused(str(path), number, f"no sighting: {_say(error)}").problems
                if len(problems) >= _MOST_PROBLEMS:
                    break
    if problems:
        raise PolicyError(problems)


def _sighting(held: dict[str, Any]) -> Sighting:
    kind = held["kind"]
    get = held.get
    if kind == "medium":
        what: tuple[str, ...] = tuple(get(name, "") for name in _MEDIUM)
    elif kind in ("started", "refused", "usage"):
        what = (held["path"], get("sha256", ""), get("package", ""))
    else:
        raise ValueError(f"the kind {kind!r} is not started, refused, usage or medium")
    at_ms = held["at_ms"]
    if not isinstance(at_ms, int):
        raise TypeError("at_ms is no whole number")
    return Sighting(
        kind,
        held["device"],
        held["group"],
        at_ms,
        bytes.fromhex(get("person", "")),
        get("place", "unknown"),
        what,
        get("times", 1),
        get("hour_ms", 0),
        bytes.fromhex(get("aggregate", "")),
    )


def _from_sqlite(path: Path) -> Iterator[Sighting]:
    columns = ", ".join(f'"{name}"' for name in (*_COLUMNS, *_PROGRAM, *_MEDIUM))
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for row in database.execute(f"SELECT {columns} FROM sightings"):  # noqa: S608 - constants only
                kind, device, group, at_ms, person, place, times, hour_ms, aggregate, *rest = row
                what = tuple(rest[3:]) if kind == "medium" else tuple(rest[:3])
                yield Sighting(
                    kind, device, group, at_ms, bytes(person), place, what, times, hour_ms, bytes(aggregate)
                )
    except sqlite3.Error as error:
        raise _refused(str(path), 0, f"no export of sightings: {error}") from error


def as_json(sighting: Sighting) -> str:
    """One line, as ``read_sightings`` reads it."""
    names = _MEDIUM if sighting.kind == "medium" else _PROGRAM
    held = sighting._asdict() | dict(zip(names, sighting.what, strict=True))
    del held["what"]
    return json.dumps(held | {"person": sighting.person.hex(), "aggregate": sighting.aggregate.hex()})


def _say(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _refused(file: str, line: int, reason: str) -> PolicyError:
    at = Position(file=file, line=line, column=1 if line else 0)
    return PolicyError([Problem(position=at, reason=reason, remedy=_FORM)])
