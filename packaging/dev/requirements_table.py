"""Write collector/docs/requirements.md: every demand of the two school policies, and the tests that prove it.

    python packaging/dev/requirements_table.py

Reads what the last run of the tests left in .cache/requirements-proved.json. A run of a part of the suite, or one
with a failure, is refused: the page would say less or more than is true.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROVED = ROOT / ".cache" / "requirements-proved.json"
PAGE = ROOT / "collector" / "docs" / "requirements.md"
HEAD = """\
# What the school policies ask for, and what proves it

Made by `make requirements-table` from a full run of the tests. *proved*: at least one test of the row passed and none
failed. *not shown*: its tests were skipped on the machine that made this page. *none*: no test names the row yet; that
says nothing about whether the software does it, only that nobody has shown it.

Rows that begin with T come from one policy, those with W from the other; PR are their procedures. The wording is ours.

| row | what it asks | state | tests |
|---|---|---|---|
"""
STATES = {"proved": "proved", "skipped": "not shown", "untested": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the page; `files` are the test files that name the demand."""

    id: str
    title: str
    state: str
    files: tuple[str, ...]


def read(text: str) -> list[Row]:
    """Return the rows of a whole run without failures; leave with the remedy for any other."""
    data = json.loads(text)
    if not data["whole_suite"]:
        sys.exit("requirements-table: the last run was only a part of the suite; run `make test` first")
    rows = [
        Row(id=row["id"], title=row["title"], state=row["state"], files=test_files(row["tests"]))
        for row in data["rows"]
    ]
    if failed := [row.id for row in rows if row.state == "failed"]:
        sys.exit(
            f"requirements-table: the last run had failures at {', '.join(failed)}; mend them and run `make test`"
        )
    return rows


def test_files(tests: dict[str, str]) -> tuple[str, ...]:
    """Name each file once, without the test's own name."""
    return tuple(sorted({test.split("::")[0].removeprefix("tests/") for test in tests}))


def page(rows: list[Row]) -> str:
    """Return the page in Markdown."""
    lines = [
        f"| {row.id} | {row.title.replace('|', '/')} | {STATES[row.state]} | "
        + ", ".join(f"`{name}`" for name in row.files)
        + " |"
        for row in rows
    ]
    proved = sum(row.state == "proved" for row in rows)
    return HEAD + "\n".join(lines) + f"\n\n{proved} of {len(rows)} rows are proved.\n"


def main() -> int:
    """Write the page; return the exit status."""
    if not PROVED.exists():
        sys.exit("requirements-table: no run of the tests to read; run `make test` first")
    rows = read(PROVED.read_text(encoding="utf-8"))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(rows), encoding="utf-8")
    print(
        f"  table     {PAGE.relative_to(ROOT)}: {sum(row.state == 'proved' for row in rows)} of {len(rows)} rows proved"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
