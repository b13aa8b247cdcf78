"""The register of people: an export of a school's management system, Microsoft Entra or Google Workspace, read whole.

Every row that cannot be used is said with its line, and then nothing is used: a register with holes would make rules
hold for the wrong people. Nothing of it but pseudonyms of accounts reaches a bundle (T-36, T-51, W-58).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal

from schoolkeeper_policies import model
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.validate import suggest

Format = Literal["mis", "entra", "google"]
Kind = Literal["pupils", "staff", "guests"]
MAX_BYTES: Final = 16 << 20
MAX_PERSONS: Final = 20_000

# Heading in small letters, without what is no letter -> our name of the column. First match of a row wins.
_HEADINGS: Final[dict[Format, dict[str, str]]] = {
    "mis": {
        "upn": "id",
        "admissionno": "id",
        "admissionnumber": "id",
        "misid": "id",
        "adno": "id",
        "staffcode": "id",
        "personid": "id",
        "id": "id",
        "username": "account",
        "networkusername": "account",
        "loginname": "account",
        "account": "account",
        "accountname": "account",
        "login": "account",
        "displayname": "name",
        "fullname": "name",
        "name": "name",
        "forename": "forename",
        "firstname": "forename",
        "givenname": "forename",
        "surname": "surname",
        "lastname": "surname",
        "persontype": "kind",
        "kind": "kind",
        "role": "kind",
        "type": "kind",
        "yeargroup": "year",
        "year": "year",
        "ncyear": "year",
        "ncyearactual": "year",
        "regform": "class",
        "registrationgroup": "class",
        "reg": "class",
        "class": "class",
        "form": "class",
        "dateofadmission": "joined",
        "admissiondate": "joined",
        "startdate": "joined",
        "doa": "joined",
        "dateofleaving": "left",
        "leavingdate": "left",
        "enddate": "left",
        "dol": "left",
    },
    "entra": {
        "employeeid": "id",
        "id": "id",
        "objectid": "id",
        "userprincipalname": "account",
        "displayname": "name",
        "givenname": "forename",
        "surname": "surname",
        "jobtitle": "kind",
        "usertype": "usertype",
        "department": "year",
        "officelocation": "class",
        "physicaldeliveryofficename": "class",
        "employeehiredate": "joined",
        "employeeleavedatetime": "left",
        "accountenabled": "status",
        "blockcredential": "blocked",
    },
    "google": {
        "employeeid": "id",
        "emailaddressrequired": "account",
        "emailaddress": "account",
        "firstnamerequired": "forename",
        "firstname": "forename",
        "lastnamerequired": "surname",
        "lastname": "surname",
        "orgunitpathrequired": "orgunit",
        "orgunitpath": "orgunit",
        "employeetype": "kind",
        "employeetitle": "kind",
        "department": "year",
        "costcenter": "class",
        "statusreadonly": "status",
        "status": "status",
    },
}
_TELLS: Final[dict[Format, frozenset[str]]] = {
    "entra": frozenset({"userprincipalname"}),
    "google": frozenset({"emailaddressrequired", "orgunitpathrequired", "orgunitpath"}),
    "mis": frozenset({"username", "networkusername", "loginname", "account", "accountname", "login"}),
}
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("pupil", "pupils", "student", "students", "learner", "child"), "pupils"),
    **dict.fromkeys(
        ("staff", "teacher", "teachers", "faculty", "ta", "teaching assistant", "employee"), "staff"
    ),
    **dict.fromkeys(
        ("guest", "guests", "visitor", "governor", "supply", "volunteer", "contractor"), "guests"
    ),
}
_SHARED: Final = "shared"
_STAGES: Final = {
    **dict.fromkeys(
        ("n", "n1", "n2", "nursery", "r", "reception", "eyfs", "-1", "-2", "0"), model.KeyStage.EYFS
    ),
    **dict.fromkeys(("1", "2", "ks1"), model.KeyStage.KS1),
    **dict.fromkeys(("3", "4", "5", "6", "ks2"), model.KeyStage.KS2),
    **dict.fromkeys((*map(str, range(7, 15)), "ks3", "ks4", "ks5", "ks3+"), model.KeyStage.KS3_UP),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One row. ``joined`` and ``left`` are the first and the last day; None where the register does not say."""

    id: str
    account: str
    kind: Kind
    line: int
    year: str = ""
    class_: str = ""
    key_stage: model.KeyStage | None = None
    joined: date | None = None
    left: date | None = None
    name: str = ""
    """What to call the person; for the collector's pages, never for a bundle."""
    shared: bool = False
    """An account that several young pupils use: never one child."""

    def here_on(self, day: date) -> bool:
        return (self.joined is None or self.joined <= day) and (self.left is None or day <= self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Everybody, in the order of the file, with one account each."""

    format: Format
    persons: tuple[Person, ...]
    ids: dict[str, Person] = field(default_factory=dict)

    def by_id(self, id_: str) -> Person | None:
        return self.ids.get(id_)


def is_export(headings: list[str]) -> bool:
    """Whether a file with these headings is one that this module can tell the account from."""
    plain = {re.sub(r"[^a-z0-9]", "", heading.lower()) for heading in headings}
    return any(not plain.isdisjoint(tell) for tell in _TELLS.values())


def write_register(register: Register) -> str:
    """The register as a CSV file of its own, with all that rules need and nobody's name; ``KEPT`` reads it."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(("id", "account", "kind", "year", "class", "joined", "left"))
    for person in register.persons:
        joined = person.joined if person.left is None or person.left >= (person.joined or date.min) else None
        days = (day.isoformat() if day is not None else "" for day in (joined, person.left))
        kind = _SHARED if person.shared else person.kind
        lines.writerow((person.id, person.account, kind, person.year, person.class_, *days))
    return out.getvalue()


KEPT: Final = model.Register(file="people.csv", format="mis", local_part=False)
"""How a file of ``write_register`` is read."""


def read_register(path: Path, settings: model.Register, *, years: bool = True) -> Register:
    """The whole register; raises ``PolicyError`` with every row that cannot be used.

    ``years``: a pupil without a year is a mistake, since rules for a key stage would not hold.
    """
    at = Position(file=str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "export it there, or name the right file in the pack: people, register, file"
        raise PolicyError(
            [Problem(position=at, reason=f"the register cannot be read: {error.strerror}", remedy=remedy)]
        ) from error
    if len(data) > MAX_BYTES:
        reason = f"the register has {len(data)} bytes, {MAX_BYTES} are read"
        raise PolicyError([Problem(position=at, reason=reason, remedy="export fewer columns")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
        raise PolicyError([Problem(position=at, reason=reason, remedy="export it as 'CSV UTF-8'")]) from error
    return parse_register(text, settings, file=str(path), years=years)


def parse_register(text: str, settings: model.Register, *, file: str, years: bool = True) -> Register:
    """As ``read_register``, from the text of the file."""
    reader = _Reader(settings, file, years)
    rows = list(reader.rows(text))
    if reader.problems:
        raise PolicyError(reader.problems)
    return Register(format=reader.format, persons=tuple(rows), ids={person.id: person for person in rows})


class _Reader:
    def __init__(self, settings: model.Register, file: str, years: bool) -> None:
        self._settings = settings
        self._years = years
        self._file = file
        self.problems: list[Problem] = []
        self.format: Format = "mis"
        self._first: dict[tuple[str, str], int] = {}

    def rows(self, text: str) -> Iterator[Person]:
        lines = csv.reader(io.StringIO(text, newline=""), dialect=_dialect(text), strict=True)
        try:
            headings = next(lines, [])
            columns = self._columns(headings)
            if columns is None:
                return
            for number, row in enumerate(lines, 1):
                if number > MAX_PERSONS:
                    self._say(lines.line_num, f"more than {MAX_PERSONS} rows", "export one school only")
                    return
                if any(cell.strip() for cell in row):
                    person = self._person(row, columns, lines.line_num, len(headings))
                    if person is not None:
                        yield person
        except csv.Error as error:
            self._say(lines.line_num, f"no CSV: {error}", "export it again, with every text in quotes")

    def _columns(self, headings: list[str]) -> dict[str, int] | None:
        plain = [re.sub(r"[^a-z0-9]", "", heading.lower()) for heading in headings]
        given = self._settings.format
        if given != "auto":
            self.format = given
        else:
            self.format = next((name for name, tell in _TELLS.items() if not tell.isdisjoint(plain)), "mis")
        columns: dict[str, int] = {}
        for heading, ours in _HEADINGS[self.format].items():
            if heading in plain:
                columns.setdefault(ours, plain.index(heading))
        for ours, theirs in self._settings.columns.items():
            if theirs not in headings:
                self._say(1, f"there is no column {theirs!r}", suggest(theirs, headings, "columns"))
            else:
                columns[ours] = headings.index(theirs)
        if "account" not in columns:
            self._say(
                1,
                f"no column of {', '.join(headings[:20]) or 'an empty file'} is known to hold the account",
                "name it in the pack: people, register, columns: {account: ...}",
            )
        return columns if not self.problems else None

    def _person(self, row: list[str], columns: dict[str, int], line: int, width: int) -> Person | None:
        before = len(self.problems)
        if len(row) != width:
            self._say(line, f"{len(row)} columns where the heading has {width}", "export it again")
            return None
        cell = {name: row[place].strip() for name, place in columns.items()}
        account = self._account(cell.get("account", ""), line)
        id_ = cell.get("id") or account
        for what, value in (("account", account), ("id", id_)):
            if value and (first := self._first.setdefault((what, value), line)) != line:
                self._say(
                    line, f"the {what} {value!r} is already in line {first}", "give each person one row"
                )
        shared = cell.get("kind", "").lower() == _SHARED
        kind = "pupils" if shared else self._kind(cell, line)
        year, stage = self._stage(cell, kind, line, needed=self._years and not shared)
        joined, left = self._date(cell, "joined", line), self._date(cell, "left", line)
        if joined and left and left < joined:
            self._say(
                line, f"left on {left}, before the joining on {joined}", "mend the dates in the register"
            )
        if _disabled(cell) and left is None:
            left = date.min
        if len(self.problems) > before or kind is None:
            return None
        return Person(
            id=id_,
            account=account,
            kind=kind,
            line=line,
            year=year,
            class_=cell.get("class", ""),
            key_stage=stage,
            joined=joined,
            left=left,
            name=cell.get("name") or f"{cell.get('forename', '')} {cell.get('surname', '')}".strip(),
            shared=shared,
        )

    def _account(self, text: str, line: int) -> str:
        account = text.partition("@")[0] if self._settings.local_part else text
        if not account or len(account) > 256 or any(character.isspace() for character in account):
            self._say(line, f"{text!r} is no account", "fill it in, or take the row out of the export")
        return account

    def _kind(self, cell: dict[str, str], line: int) -> Kind | None:
        word = cell.get("kind", "").lower()
        if word in _KINDS:
            return _KINDS[word]
        if cell.get("usertype", "").lower() == "guest":
            return "guests"
        for part in reversed(cell.get("orgunit", "").lower().split("/")):
            if part in _KINDS:
                return _KINDS[part]
        if _year(cell.get("year", "")) in _STAGES or any(
            _year(part) in _STAGES for part in cell.get("orgunit", "").split("/")
        ):
            return "pupils"
        self._say(
            line,
            f"{cell.get('kind') or cell.get('orgunit') or 'nothing'!r} does not say: pupil, staff or guest?",
            "write it in that column, or name the column in the pack: columns: {kind: ...}",
        )
        return None

    def _stage(
        self, cell: dict[str, str], kind: Kind | None, line: int, *, needed: bool
    ) -> tuple[str, model.KeyStage | None]:
        if kind != "pupils":
            return "", None
        years = [cell.get("year", ""), *reversed(cell.get("orgunit", "").split("/"))]
        for text in years:
            if (year := _year(text)) in _STAGES:
                return year, _STAGES[year]
        if not needed:
            return "", None
        self._say(
            line, f"{years[0] or 'nothing'!r} is no year of a pupil", "write it as 'Year 4' or 'Reception'"
        )
        return "", None

    def _date(self, cell: dict[str, str], name: str, line: int) -> date | None:
        text = cell.get(name, "").split("T")[0].split(" ")[0]
        if not text:
            return None
        for form in ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y"):
            try:
                return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no time zone
            except ValueError:
                continue
        self._say(line, f"{text!r} is no date", "write it as 2026-09-01 or 01/09/2026")
        return None

    def _say(self, line: int, reason: str, remedy: str) -> None:
        at = Position(file=self._file, line=line, column=1)
        self.problems.append(Problem(position=at, reason=reason, remedy=remedy))


def _year(text: str) -> str:
    """'Year 4', 'Y4', 'Yr 4', '04' and 'Class 4' are '4'."""
    plain = text.strip().lower()
    found = re.fullmatch(r"(?:year|yr|y|nc year|class)?[ -]*0*([0-9]{1,2})", plain)
    return found[1] if found else re.sub(r"^year ", "", plain)


def _disabled(cell: dict[str, str]) -> bool:
    return (
        cell.get("status", "").lower() in {"suspended", "archived", "false", "disabled"}
        or cell.get("blocked", "").lower() == "true"
    )


def _dialect(text: str) -> type[csv.Dialect]:
    """Commas, semicolons or tabs: what the heading has most of."""
    heading = text.partition("\n")[0]

    class _Export(csv.excel):
        delimiter = max(",;\t", key=heading.count)

    return _Export
