"""Registers from CSV files: people and assets. All or nothing: every mistake is named with its line, or all is taken.

The first line names the columns, in any order; what is not listed is refused by name, so that a column with a
spelling mistake is not silently left out. A file may carry a byte-order mark, as spreadsheets write it.

People come from such a small file of our own, or from an export of a management system, Entra or Google Workspace:
that is read by the policy language's own reader (``schoolkeeper_policies.registers``), as the pack says.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar

from sqlalchemy import Connection, delete, insert, select

from schoolkeeper_collector.store.tables import assets, people
from schoolkeeper_policies import model
from schoolkeeper_policies import registers as sources
from schoolkeeper_policies.problems import PolicyError

LARGEST = 20 * 1024 * 1024


class RegisterError(Exception):
    """The file was not taken. ``mistakes``: one line each, with place and remedy."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PersonKind(StrEnum):
    PUPIL = "pupil"
    STAFF = "staff"
    GUEST = "guest"
    SHARED = "shared"
    """An account that several young pupils use: never one child."""


_KIND_OF: Final[dict[sources.Kind, PersonKind]] = {
    "pupils": PersonKind.PUPIL,
    "staff": PersonKind.STAFF,
    "guests": PersonKind.GUEST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One row of the register of people."""

    account_name: str
    kind: PersonKind
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One row of the asset register."""

    asset_tag: str
    serial: str
    description: str
    platform: str
    assigned_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an import changed."""

    added: int
    changed: int
    gone: int
    """Present before, and not in the file: people are marked as left, assets are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFile:
    """``rows`` for the console's pages; ``register`` with years and classes, for the rules of a pack."""

    rows: list[Person]
    register: sources.Register


def read_register(data: bytes, name: str, settings: model.Register, today: date) -> PeopleFile:
    """An export as ``settings`` say it is to be read, or our own three columns; raises RegisterError.

    Who left before ``today`` is in neither: for the console they have left.
    """
    if not _is_export(data):
        rows = read_people(data, name)
        persons = tuple(_of_row(row, line) for line, row in enumerate(rows, 2))
        return PeopleFile(rows=rows, register=sources.Register(format="mis", persons=persons))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RegisterError([f"{name}:{line}: not UTF-8; save the sheet as 'CSV UTF-8'"]) from error
    try:
        found = sources.parse_register(text, settings, file=name, years=False)
    except PolicyError as error:
        raise RegisterError([str(problem) for problem in error.problems]) from error
    here = tuple(person for person in found.persons if person.left is None or today <= person.left)
    rows = _all_or_nothing([_of_person(person) for person in here], [], name)
    return PeopleFile(rows=rows, register=sources.Register(format=found.format, persons=here))


def _is_export(data: bytes) -> bool:
    """Our own form has ``account_name``; a heading that nobody knows is left to it, which says what it needs."""
    heading = data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    columns = [column.strip(' "\r').lower() for column in re.split("[,;\t]", heading)]
    return "account_name" not in columns and sources.is_export(columns)


def _of_person(person: sources.Person) -> Person:
    kind = PersonKind.SHARED if person.shared else _KIND_OF[person.kind]
    return Person(account_name=person.account, kind=kind, display_name=person.name or person.account)


def _of_row(row: Person, line: int) -> sources.Person:
    shared = row.kind is PersonKind.SHARED
    kind: sources.Kind = next((name for name, one in _KIND_OF.items() if one is row.kind), "pupils")
    return sources.Person(id=row.account_name, account=row.account_name, kind=kind, line=line, shared=shared)


def read_people(data: bytes, name: str) -> list[Person]:
    """Read ``account_name,kind,display_name``; raises RegisterError."""
    mistakes: list[str] = []
    found: list[Person] = []
    first: dict[str, int] = {}
    for line, row in _rows(data, name, needed=("account_name", "kind", "display_name"), optional=()):
        where = f"{name}:{line}"
        kind = next((kind for kind in PersonKind if kind.value == row["kind"].lower()), None)
        account = row["account_name"]
        if not account:
            mistakes.append(f"{where}: account_name is empty; write the name that the person signs in with")
        elif account in first:
            mistakes.append(f"{where}: {account!r} stands in line {first[account]} already; remove one")
        if kind is None:
            allowed = ", ".join(PersonKind)
            mistakes.append(f"{where}: kind {row['kind']!r} is none of {allowed}; correct it")
        if not row["display_name"]:
            mistakes.append(f"{where}: display_name is empty; write what to call the person on a page")
        first.setdefault(account, line)
        if kind is not None:
            found.append(Person(account_name=account, kind=kind, display_name=row["display_name"]))
    return _all_or_nothing(found, mistakes, name)


def read_assets(data: bytes, name: str) -> list[AssetRow]:
    """Read ``asset_tag,serial`` and, where present, ``description,platform,assigned_to``; raises RegisterError."""
    mistakes: list[str] = []
    found: list[AssetRow] = []
    tags: dict[str, int] = {}
    serials: dict[str, int] = {}
    optional = ("description", "platform", "assigned_to")
    for line, row in _rows(data, name, needed=("asset_tag", "serial"), optional=optional):
        where = f"{name}:{line}"
        for column, seen, value in (
            ("asset_tag", tags, row["asset_tag"]),
            ("serial", serials, row["serial"].casefold()),
        ):
            if not value:
                mistakes.append(f"{where}: {column} is empty; it stands on the device, or remove the line")
            elif value in seen:
                mistakes.append(
                    f"{where}: {column} {value!r} stands in line {seen[value]} already; remove one"
                )
            seen.setdefault(value, line)
        found.append(AssetRow(**row))
    return _all_or_nothing(found, mistakes, name)


def store_people(
    connection: Connection,
    school_id: str,
    rows: Iterable[Person],
    *,
    pseudonym_of: Callable[[str], bytes],
    now_ms: int,
) -> Taken:
    """Make the register of people equal to the file. Who is no longer in it has left; their items keep their name."""
    query = select(people).where(people.c.school_id == school_id)
    before = {row.pseudonym: row for row in connection.execute(query)}
    added = changed = 0
    seen: set[bytes] = set()
    for person in rows:
        pseudonym = pseudonym_of(person.account_name)
        seen.add(pseudonym)
        values = {
            "kind": person.kind.value,
            "display_name": person.display_name,
            "account_name": person.account_name,
            "left_ms": None,
        }
        old = before.get(pseudonym)
        if old is None:
            connection.execute(
                insert(people).values(school_id=school_id, pseudonym=pseudonym, account_id=None, **values)
            )
            added += 1
        elif any(getattr(old, column) != value for column, value in values.items()):
            this = people.c.school_id == school_id, people.c.pseudonym == pseudonym
            connection.execute(people.update().where(*this).values(values))
            changed += 1
    left = [key for key, row in before.items() if key not in seen and row.left_ms is None]
    for pseudonym in left:
        this = people.c.school_id == school_id, people.c.pseudonym == pseudonym
        connection.execute(people.update().where(*this).values(left_ms=now_ms))
    return Taken(added=added, changed=changed, gone=len(left))


def store_assets(connection: Connection, school_id: str, rows: Iterable[AssetRow], *, now_ms: int) -> Taken:
    """Make the asset register equal to the file."""
    query = select(assets).where(assets.c.school_id == school_id)
    before = {row.asset_tag: row for row in connection.execute(query)}
    connection.execute(delete(assets).where(assets.c.school_id == school_id))
    added = changed = 0
    tags = set()
    for row in rows:
        values = {
            "serial": row.serial,
            "description": row.description,
            "platform": row.platform,
            "assigned_to": row.assigned_to,
        }
        connection.execute(
            insert(assets).values(school_id=school_id, asset_tag=row.asset_tag, imported_ms=now_ms, **values)
        )
        old = before.get(row.asset_tag)
        added += old is None
        changed += old is not None and any(getattr(old, name) != value for name, value in values.items())
        tags.add(row.asset_tag)
    return Taken(added=added, changed=changed, gone=len(set(before) - tags))


def _rows(
    data: bytes, name: str, *, needed: tuple[str, ...], optional: tuple[str, ...]
) -> Iterable[tuple[int, dict[str, str]]]:
    if len(data) > LARGEST:
        raise RegisterError([f"{name}: {len(data)} bytes, more than {LARGEST}; this is no register"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RegisterError([f"{name}:{line}: not UTF-8; save the sheet as 'CSV UTF-8'"]) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise RegisterError([f"{name}:{reader.line_num}: {error}; check the quotation marks"]) from error
    lines = [(number, row) for number, row in lines if any(row)]
    if not lines:
        raise RegisterError(
            [f"{name}: empty; the first line names the columns: {','.join(needed + optional)}"]
        )
    header_line, header = lines[0]
    columns = [column.lower() for column in header]
    _check_columns(f"{name}:{header_line}", columns, needed, optional)
    mistakes = [
        f"{name}:{number}: {len(row)} fields, the first line has {len(columns)}; "
        "a comma inside a field needs quotation marks around it"
        for number, row in lines[1:]
        if len(row) != len(columns)
    ]
    if mistakes:
        raise RegisterError(mistakes)
    empty = dict.fromkeys(optional, "")
    return [(number, {**empty, **dict(zip(columns, row, strict=True))}) for number, row in lines[1:]]


def _check_columns(
    where: str, columns: list[str], needed: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    known = needed + optional
    mistakes = [f"{where}: the column {name} is missing; add it" for name in needed if name not in columns]
    mistakes += [
        f"{where}: there is no column {name!r}; the columns are {', '.join(known)}"
        for name in columns
        if name not in known
    ]
    mistakes += [f"{where}: {name} stands twice; remove one" for name in known if columns.count(name) > 1]
    if mistakes:
        raise RegisterError(mistakes)


_Row = TypeVar("_Row")


def _all_or_nothing(found: list[_Row], mistakes: list[str], name: str) -> list[_Row]:
    if mistakes:
        raise RegisterError(mistakes)
    if not found:
        raise RegisterError([f"{name}: no row after the first line; nothing was changed"])
    return found
