"""One register of people: the same export for the console's pages and for rules, and never among what is published."""

import os
import shutil
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_policies import cli as policy_cli
from schoolkeeper_proto.bundle import open_bundle
from schoolkeeper_proto.people import PeopleTable
from support.school import GROUP, School

EXPORT = """\
UPN,Surname,Forename,Year Group,Reg Form,Username,Person Type,Date of Admission,Date of Leaving
A1,Evans,Ann,Year 4,4B,a.evans,Pupil,01/09/2022,
A3,Jones,Cai,Year 6,6A,c.jones,Pupil,01/09/2019,17/07/2026
S1,Price,Dee,,,d.price,Teacher,2015-09-01,
"""
PARTS = """\
people:
  register: {file: ../office/register.csv}
applications:
  - id: tests.for-pupils
    description: d
    why: w
    resolution: r
    audience: [ks2]
    decision: block
    match: [{file-name: minefield}]
"""


@pytest.fixture
def school(tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch) -> School:
    """Made with the pack while its register lay beside it."""
    beside = tmp_path / "office" / "register.csv"
    beside.parent.mkdir()
    beside.write_text(EXPORT)
    school = School(tmp_path / "collector", pack=str(pack))
    school.close()
    beside.unlink()
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    return school


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack whose register does not lie where it says."""
    folder = tmp_path / "pack"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), folder)
    own = folder / "applications.yaml"
    people, _, rule = PARTS.partition("applications:\n")
    own.write_text(own.read_text().replace("applications:\n", "applications:\n" + rule, 1))
    (folder / "people.yaml").write_text(people)
    return folder


@pytest.fixture
def export(tmp_path: Path) -> Path:
    file = tmp_path / "export.csv"
    file.write_text(EXPORT)
    return file


def run(*arguments: object) -> Any:
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments])


def staged_groups(school: School, account: str) -> frozenset[str]:
    (file,) = (school.folder / "trust" / "staged" / "targets" / "bundles").glob(f"*.{GROUP}")
    held = open_bundle(
        file.read_bytes(), school_id=school.school_id, group=GROUP, capabilities=frozenset({"people/1"})
    )
    return PeopleTable(held.people, school.keys.pseudonym_key).groups_of(account)


def nobody_is_named_in(folder: Path) -> bool:
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return not any(name in held for name in (b"a.evans", b"Evans", b"A1,", b"d.price"))


def test_without_its_register_a_pack_is_not_staged_and_the_remedy_is_named(
    school: School, pack: Path
) -> None:
    refused = run("stage", "--group", GROUP, "--pack", pack)
    assert refused.exit_code == 1
    assert "the pack's register '../office/register.csv' is not beside it" in refused.output
    assert "--register" in refused.output
    assert "people import FILE" in refused.output
    assert not (school.folder / "trust" / "staged").exists()


def test_a_register_is_named_and_read_and_never_lies_among_what_is_published(
    school: School, pack: Path, export: Path
) -> None:
    staged = run("stage", "--group", GROUP, "--pack", pack, "--register", export)
    assert staged.exit_code == 0, staged.output
    assert "people:ks2" in staged_groups(school, "a.evans")
    assert "people:ks2" not in staged_groups(school, "c.jones")
    assert nobody_is_named_in(school.folder / "trust")
    assert nobody_is_named_in(school.folder / "policy")


@pytest.mark.requirement("T-36")
@pytest.mark.requirement("W-58")
def test_what_is_imported_serves_pages_and_rules(school: School, pack: Path, export: Path) -> None:
    taken = run("people", "import", export)
    assert "people: 2 added, 0 changed, 0 marked as left" in taken.output, "Cai left in July"
    kept = school.folder / "register" / "people.csv"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "Evans" not in kept.read_text(), "rules need no names"
    assert run("stage", "--group", GROUP, "--pack", pack).exit_code == 0
    assert "people:ks2" in staged_groups(school, "a.evans")
    assert "people:ks2" not in staged_groups(school, "d.price")
    assert nobody_is_named_in(school.folder / "trust")
    # Ann leaves, Eve joins.
    export.write_text(
        EXPORT.replace("01/09/2022,", "01/09/2022,20/11/2026") + "A9,Shaw,Eve,Year 3,3A,e.shaw,Pupil,,\n"
    )
    assert "people: 1 added, 0 changed, 1 marked as left" in run("people", "import", export).output
    store = open_store(f"sqlite:///{school.folder}/collector.db", f"sqlite:///{school.folder}/keystore.db")
    with store.read() as connection:
        rows = {row.account_name: row for row in connection.execute(select(tables.people))}
    store.close()
    assert {name: (row.display_name, row.kind, row.left_ms is None) for name, row in rows.items()} == {
        "a.evans": ("Ann Evans", "pupil", False),
        "d.price": ("Dee Price", "staff", True),
        "e.shaw": ("Eve Shaw", "pupil", True),
    }
    assert run("stage", "--group", GROUP, "--pack", pack).exit_code == 0
    assert "people:ks2" in staged_groups(school, "e.shaw")
    assert "people:ks2" not in staged_groups(school, "a.evans")


def test_a_broken_export_changes_nothing(school: School, export: Path) -> None:
    export.write_text(EXPORT + "A1,Again,Ann,Year 4,4B,a.again,Pupil,,\n")
    refused = run("people", "import", export)
    assert refused.exit_code == 1
    assert "export.csv:5:1: the id 'A1' is already in line 2" in refused.output
    assert "Nothing was changed." in refused.output
    assert not (school.folder / "register").exists()


def test_our_own_three_columns_give_no_years_and_staging_says_so(
    school: School, pack: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.csv"
    own.write_text("account_name,kind,display_name\nyear1,shared,Year 1\nrowan,pupil,Rowan\n")
    assert "people: 2 added" in run("people", "import", own).output
    refused = run("stage", "--group", GROUP, "--pack", pack)
    assert refused.exit_code == 1
    assert "'nothing' is no year of a pupil" in refused.output
    own.write_text("account_name,kind,display_name\nyear1,shared,Year 1\ncy,staff,Cy\n")
    run("people", "import", own)
    assert run("stage", "--group", GROUP, "--pack", pack).exit_code == 0


def test_a_register_for_a_pack_that_uses_none_is_a_mistake(school: School, export: Path) -> None:
    refused = run("stage", "--group", GROUP, "--pack", "default", "--register", export)
    assert "the pack does not use one" in refused.output
    assert run("stage", "--address", "localhost:1:2", "--register", export).exit_code == 1


def test_the_policy_tool_takes_the_register_too(pack: Path, export: Path) -> None:
    def tool(*arguments: object) -> Any:
        return CliRunner().invoke(policy_cli.app, [str(argument) for argument in arguments])

    ask = ("explain", pack, "--group", GROUP, "--app", "/usr/bin/minefield", "--user", "A1")
    assert "the register cannot be read" in tool(*ask).output
    assert "tests.for-pupils" in tool(*ask, "--register", export).output
    out = pack.parent / "bundle"
    compiled = tool(
        "compile", pack, "--group", GROUP, "--school", "s", "--version", 1, "--out", out, "--register", export
    )
    assert compiled.exit_code == 0, compiled.output
    assert out.is_file()
