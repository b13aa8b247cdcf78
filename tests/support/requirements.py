"""Which demand of the two school policies is proved by which test, gathered while the tests run."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).resolve().parents[1] / "data" / "requirements.yaml"
_ROW = re.compile(
    r"- \{id: (?P<id>[A-Z]+-[A-Z]?\d+[a-c]?), kinds: \[(?P<kinds>[a-z_, ]+)\], title: '(?P<title>.+)'\}"
)
_ID = re.compile(r"(T|W|PR)-[A-Z]?\d{1,3}[a-c]?")


class RequirementError(Exception):
    """A mark or the data file names a row in a way that nobody could look up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One row: `id` such as T-44, its kinds (enforce, posture, event, ...), and our own short title."""

    id: str
    kinds: tuple[str, ...]
    title: str


def load(path: Path = DATA) -> dict[str, Requirement]:
    """Read the rows in the file's order; raise RequirementError with file and line for one that cannot be read."""
    rows: dict[str, Requirement] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if not (found := _ROW.fullmatch(line)):
            raise RequirementError(
                f"{path.name}:{number}: not of the form - {{id: T-44, kinds: [event], title: '...'}}"
            )
        if found["id"] in rows:
            raise RequirementError(f"{path.name}:{number}: {found['id']} stands there twice; remove one")
        kinds = tuple(kind.strip() for kind in found["kinds"].split(","))
        rows[found["id"]] = Requirement(id=found["id"], kinds=kinds, title=found["title"].replace("''", "'"))
    return rows


def check_ids(ids: Iterable[object], known: dict[str, Requirement], *, test: str) -> list[str]:
    """Return the ids of one mark; raise RequirementError naming the test and the remedy for a wrong one."""
    checked = []
    for value in ids:
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise RequirementError(
                f"{test}: requirement({value!r}) is no id; write it like 'T-44' or 'PR-W3a'"
            )
        if value not in known:
            raise RequirementError(f"{test}: requirement {value!r} is not in tests/data/{DATA.name}")
        checked.append(value)
    if not checked:
        raise RequirementError(f"{test}: requirement() without an id; write requirement('T-44')")
    return checked


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Outcome of every test that carries a mark: requirement id -> test -> passed, failed or skipped."""

    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)

    def note(self, ids: Iterable[str], *, test: str, outcome: str) -> None:
        """Take one phase of a test into account: a failure stays, whatever passes afterwards."""
        for row in ids:
            tests = self.outcomes.setdefault(row, {})
            if tests.get(test) != "failed":
                tests[test] = outcome

    def state(self, row: str) -> str:
        """Return 'failed' if any test of the row failed, 'proved' if one passed, else 'skipped' or 'untested'."""
        seen = set(self.outcomes.get(row, {}).values())
        if "failed" in seen:
            return "failed"
        if "passed" in seen:
            return "proved"
        return "skipped" if seen else "untested"

    def write(self, path: Path, known: dict[str, Requirement], *, whole_suite: bool) -> None:
        """Write all rows with state and tests as JSON, for packaging/dev/requirements_table.py."""
        rows = [
            {
                "id": row.id,
                "kinds": list(row.kinds),
                "title": row.title,
                "state": self.state(row.id),
                "tests": self.outcomes.get(row.id, {}),
            }
            for row in known.values()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"whole_suite": whole_suite, "rows": rows}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")

    def summary(self, known: dict[str, Requirement]) -> list[str]:
        """Return one line per row that this run touched, then one line of counts."""
        touched = [row for row in known.values() if row.id in self.outcomes]
        lines = [f"{row.id:<7} {self.state(row.id):<8} {row.title[:76]}" for row in touched]
        counts = {
            state: sum(self.state(row) == state for row in known) for state in ("proved", "failed", "skipped")
        }
        said = ", ".join(f"{count} {state}" for state, count in counts.items())
        return [
            *lines,
            f"{said}, {len(known) - len(touched)} of {len(known)} rows without a test in this run",
        ]
