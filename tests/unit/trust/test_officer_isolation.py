"""Isolations, lost devices and releases by the officer's program, which says before signing what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import cli, keyfile, memory, school
from schoolkeeper_proto import granting, wire
from schoolkeeper_proto.codec import decode
from support.officers import pack_with, publish, stage_pack
from support.school import GROUP, School

QUIET = ("--quiet", "--ground-by", "head", "--ground", "case 2026-14")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("school")
    found = School(folder / "collector")
    publish(found, stage_pack(found, pack_with(folder, "enforce")), "technician", "dsl")
    yield found
    found.close()


@pytest.fixture
def officers(made: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where every officer's program knows the school already."""
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    file = tmp_path / "it.skschool"
    file.write_bytes(staging.school_file(made.folder))
    for name in ("technician", "dsl", "head"):
        school.keep(keyfile.read_head(key(made, name)), file)
    return tmp_path


def key(made: School, name: str) -> Path:
    return made.folder / "offline" / name / f"{name}.key"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["grant", *arguments])


def new(made: School, out: Path, *arguments: str) -> Result:
    asked = ("--key", str(key(made, "technician")), "-o", str(out), "--reason", "A case.", "--group", GROUP)
    return run("new", *asked, *arguments)


def sign(made: School, out: Path, name: str) -> str:
    done = run("sign", str(out), "--key", str(key(made, name)), "--yes")
    assert done.exit_code == 0, done.output
    return done.output


def words(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.requirement("T-62")
def test_an_isolation_takes_one_signature_and_its_release_two(made: School, officers: Path) -> None:
    out = officers / "off.skgrant"
    assert "reaches the collector and nothing else" in words(
        new(made, out, "--kind", "isolate", "--for", "3d")
    )
    assert "Complete" in sign(made, out, "technician")
    grant_id = decode(wire.GrantStatement, decode(wire.Grant, out.read_bytes()).statement).grant_id.hex()

    back = officers / "back.skgrant"
    assert "must name the grants that end" in new(made, back, "--kind", "release").output.replace("\n", " ")
    assert "takes one technical and one safeguarding officer" in words(
        new(made, back, "--kind", "release", "--end", grant_id)
    )
    assert "a release needs one technical and one safeguarding officer" in sign(made, back, "technician")
    assert "Complete" in sign(made, back, "dsl")
    said = decode(wire.GrantStatement, decode(wire.Grant, back.read_bytes()).statement)
    assert granting.length_seconds(said) == 400 * 86_400, "it waits for a device that is off for long"


@pytest.mark.requirement("W-104")
def test_a_quiet_isolation_waits_for_the_head_and_says_what_quiet_is_worth(
    made: School, officers: Path
) -> None:
    out = officers / "quiet.skgrant"
    told = words(new(made, out, "--kind", "isolate", *QUIET))
    assert "on the recorded ground of the head: case 2026-14" in told
    assert "a dead network is noticed all the same" in told
    assert "must be signed by the head" in sign(made, out, "technician")
    assert "Complete" in sign(made, out, "head")
    for wrong in (
        ("--quiet",),
        ("--quiet", "--ground-by", "dsl", "--ground", "1"),
        (*QUIET, "--notice", "Hello"),
    ):
        assert new(made, officers / "no.skgrant", "--kind", "isolate", *wrong).exit_code == 1
    assert new(made, officers / "no.skgrant", "--kind", "lost", *QUIET).exit_code == 1
    assert not (officers / "no.skgrant").exists()


def test_a_lost_device_is_explained_before_it_is_signed(made: School, officers: Path) -> None:
    told = words(new(made, officers / "lost.skgrant", "--kind", "lost", "--for", "30d"))
    assert "nobody but root signs in" in told
    assert "its policy is frozen" in told
