"""From 'why' to the sealed file, the pack's lines, and the DSL who reads it: by the two commands, on a real school."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from schoolkeeper_collector.school.staging import school_file
from schoolkeeper_policies.cli import app as policy
from schoolkeeper_policies.officer.cli import app as officer
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto.people import MEMBER_BYTES, account_pseudonym
from support.language import app as rule
from support.language import pack
from support.school import School

WHY = "Needs the reading program in every lesson."


@pytest.fixture
def school(tmp_path: Path) -> School:
    school = School(tmp_path / "collector")
    school.close()
    (tmp_path / "it.skschool").write_bytes(school_file(school.folder))
    return school


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pack(tmp_path, "applications:\n" + rule(), people=True)


def seal(school: School, folder: Path, why: str = WHY, **changed: str) -> Any:
    given = {
        "id": "reader",
        "person": "P1",
        "school": str(folder.parent / "it.skschool"),
        "root-hash": school.result.root_sha256.hex(),
        "out": str(folder.parent / "why.sealed"),
    } | changed
    options = [text for name, value in given.items() for text in (f"--{name}", value)]
    return CliRunner().invoke(policy, ["override", "seal", str(folder), *options], input=f"{why}\n")


def read(school: School, name: str, folder: Path, *options: str) -> Any:
    key = school.folder / "offline" / name / f"{name}.key"
    file = folder.parent / "why.sealed"
    return CliRunner().invoke(officer, ["open-reason", str(file), "--key", str(key), *options])


def lines(sealed: Any) -> str:
    """What the command prints for the pack, and no more."""
    text: str = sealed.stdout
    return text[text.index("- id:") :]


@pytest.mark.requirement("W-61")
def test_the_dsl_reads_why_and_the_technician_the_pack_and_the_bundle_do_not(
    school: School, folder: Path
) -> None:
    sealed = seal(school, folder)
    assert sealed.exit_code == 0, sealed.output
    assert WHY not in sealed.output
    file = folder.parent / "why.sealed"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert WHY not in file.read_text()
    document = json.loads(file.read_text())
    assert set(document) == {"format", "override", "school", "hash", "readers", "sealed"}
    assert "dsl" in document["readers"]
    assert "technician" not in document["readers"]
    assert "P1" not in lines(sealed)
    more = "  lift: [a.b]\n  decided_by: dsl\n  review: 2027-03-26\n"
    (folder / "overrides.yaml").write_text("overrides:\n" + lines(sealed) + more)
    (override,) = load_pack(folder).overrides
    assert override.pseudonym == account_pseudonym(school.keys.pseudonym_key, "ann")[:MEMBER_BYTES].hex()
    assert read(school, "dsl", folder, "--pack", str(folder)).output == f"{WHY}\n"
    assert read(school, "dsl", folder, "--hash", override.reason_hash).output == f"{WHY}\n"
    refused = read(school, "technician", folder, "--pack", str(folder))
    assert refused.exit_code == 1
    assert "does not open" in refused.output
    assert WHY not in refused.output


def test_words_that_were_not_decided_on_are_not_shown(school: School, folder: Path) -> None:
    assert seal(school, folder).exit_code == 0
    other = read(school, "dsl", folder, "--hash", "00" * 32)
    assert other.exit_code == 1
    assert WHY not in other.output
    nowhere = read(school, "dsl", folder, "--pack", str(folder))
    assert "the pack has no override 'reader'" in nowhere.output
    assert read(school, "dsl", folder).exit_code == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"person": "P9"}, "nobody with the id 'P9'"),
        ({"root-hash": "00" * 32}, "error:"),
        ({"words": " "}, "empty"),
    ],
)
def test_what_cannot_be_sealed_writes_nothing(
    school: School, folder: Path, changed: dict[str, str], said: str
) -> None:
    if "words" in changed:
        file = folder.parent / "words.txt"
        file.write_text(changed["words"])
        changed = {"words": str(file)}
    refused = seal(school, folder, **changed)
    assert refused.exit_code == 1
    assert said in refused.output
    assert not (folder.parent / "why.sealed").exists()


def test_a_sealed_reason_is_never_overwritten(school: School, folder: Path) -> None:
    assert seal(school, folder).exit_code == 0
    before = (folder.parent / "why.sealed").read_text()
    assert seal(school, folder, "Another.").exit_code == 2
    assert (folder.parent / "why.sealed").read_text() == before
