"""Grants as officers make and sign them: bounded, compared with what is in force, refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import cli, grant_cli, grants, keyfile, memory, school
from schoolkeeper_proto import granting, policy, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.wire import GrantKind
from support.officers import pack_with, publish, stage_pack
from support.school import GROUP, School, wall_ms


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
    for name in ("technician", "dsl", "second-technician", "head"):
        school.keep(keyfile.read_head(key(made, name)), file)
    return tmp_path


def key(made: School, name: str) -> Path:
    return made.folder / "offline" / name / f"{name}.key"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["grant", *arguments])


def new(made: School, out: Path, *arguments: str, by: str = "technician") -> Result:
    return run("new", "--key", str(key(made, by)), "-o", str(out), "--reason", "A new VPN.", *arguments)


def test_an_emergency_block_takes_one_signature(made: School, officers: Path) -> None:
    out = officers / "vpn.skgrant"
    said = new(made, out, "--kind", "emergency-block", "--group", GROUP, "--block-file-name", "newvpn")
    assert said.exit_code == 0, said.output
    assert "stricter" in said.output
    signed = run("sign", str(out), "--key", str(key(made, "technician")), "--yes")
    assert signed.exit_code == 0, signed.output
    assert "Complete" in signed.output
    grant = decode(wire.Grant, out.read_bytes())
    statement = decode(wire.GrantStatement, grant.statement)
    assert granting.length_seconds(statement) == 86_400
    found = school.known(keyfile.read_head(key(made, "dsl")))
    verdict = granting.check(
        statement, granting.signers_of(grant, found.officers), granting.ground_of(found.bundles[GROUP])
    )
    assert isinstance(verdict, granting.Permitted)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--group", GROUP), "at least one rule"),
        (("--group", GROUP, "--block-file-name", "x", "--for", "25h"), "lasts 1 minute to 1 day"),
        (("--group", "elsewhere", "--block-file-name", "x"), "no group 'elsewhere'"),
        (("--block-file-name", "x"), "names no device and no group"),
        (("--device", "12", "--block-file-name", "x"), "is no id"),
        (("--group", GROUP, "--block-file-name", "x", "--for", "soon"), "no length of time"),
        (("--group", GROUP, "--block-sha256", "zz"), "cannot be compiled"),
        (("--group", GROUP, "--block-site", "https://example.org"), "write example.org"),
        (("--group", GROUP, "--block-site", "*"), "no site that can be blocked"),
    ],
)
def test_an_emergency_block_that_would_not_hold_is_not_made(
    made: School, officers: Path, arguments: tuple[str, ...], said: str
) -> None:
    out = officers / "bad.skgrant"
    refused = new(made, out, "--kind", "emergency-block", *arguments)
    assert refused.exit_code == 1
    assert said in refused.output
    assert not out.exists()


def test_a_program_and_an_address_are_blocked_for_everybody_by_one_signature(
    made: School, officers: Path
) -> None:
    """By path, address or hash; nobody opens what is blocked to block it."""
    out = officers / "found.skgrant"
    named = (
        "--block-path",
        "/home/*/Downloads/x",
        "--block-sha256",
        "ab" * 32,
        "--block-site",
        "bad.example/x",
    )
    said = new(made, out, "--kind", "emergency-block", "--group", GROUP, *named)
    assert said.exit_code == 0, said.output
    assert "bad.example/x" in said.output
    assert "other programs reach them as before" in said.output
    signed = run("sign", str(out), "--key", str(key(made, "technician")), "--yes")
    assert "Complete" in signed.output, signed.output
    found = school.known(keyfile.read_head(key(made, "dsl")))
    grant = decode(wire.Grant, out.read_bytes())
    statement = decode(wire.GrantStatement, grant.statement)
    verdict = granting.check(
        statement, granting.signers_of(grant, found.officers), granting.ground_of(found.bundles[GROUP])
    )
    assert isinstance(verdict, granting.Permitted)
    assert verdict.payload.browser is not None
    assert [rule.sites for rule in verdict.payload.browser.rules] == [("bad.example/x",)]


def test_a_block_that_opens_something_is_not_signed(made: School, officers: Path) -> None:
    """A grant from elsewhere, its rule an allow in disguise."""
    found = school.known(keyfile.read_head(key(made, "dsl")))
    wish = grants.Wish(
        kind=GrantKind.EMERGENCY_BLOCK,
        reason="x",
        seconds=3600,
        groups=(GROUP,),
        blocks=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="newvpn"),),
    )
    good = decode(wire.GrantStatement, grants.make(wish, found, wall_ms()).statement)
    section = granting.payload_of(good).applications
    assert section is not None
    from dataclasses import replace

    from schoolkeeper_proto.codec import encode

    allowing = replace(section, rules=(replace(section.rules[0], decision=DecisionKind.ALLOW),))
    evil = replace(good, payload=encode(policy.GrantPayload(applications=allowing)))
    looked = grants.look(encode(wire.Grant(statement=encode(evil))), found, wall_ms())
    with pytest.raises(grants.GrantError, match="may only"):
        grants.sign(looked, made.officer("technician"), found, wall_ms())


def test_what_loosens_needs_two_people_of_two_duties(made: School, officers: Path) -> None:
    out = officers / "observe.skgrant"
    arguments = ("--kind", "observe", "--group", GROUP, "--rule", "tests.minefield", "--for", "45m")
    assert new(made, out, *arguments).exit_code == 0
    one = run("sign", str(out), "--key", str(key(made, "technician")), "--yes")
    assert "Not enough yet" in one.output
    same_duty = run("sign", str(out), "--key", str(key(made, "second-technician")), "--yes")
    assert "Not enough yet" in same_duty.output
    two = run("sign", str(out), "--key", str(key(made, "dsl")), "--yes")
    assert "Complete" in two.output, two.output
    shown = run("show", str(out), "--key", str(key(made, "head")))
    assert "Signed by: " in shown.output
    assert "tests.minefield" in shown.output


def test_a_key_that_the_school_does_not_list_signs_no_grant(made: School, officers: Path) -> None:
    out = officers / "a.skgrant"
    new(made, out, "--kind", "emergency-block", "--group", GROUP, "--block-file-name", "newvpn")
    refused = run("sign", str(out), "--key", str(key(made, "root-1")), "--yes")
    assert refused.exit_code == 1
    assert "knows nothing of what is in force" in refused.output
    found = school.known(keyfile.read_head(key(made, "dsl")))
    with pytest.raises(grants.GrantError, match="does not list this key"):
        grants.sign(grants.look(out.read_bytes(), found, wall_ms()), made.officer("root-1"), found, wall_ms())


def test_an_older_school_file_is_refused(made: School, officers: Path, tmp_path: Path) -> None:
    head = keyfile.read_head(key(made, "dsl"))
    held = memory.load(memory.home(), head.key_id, head.root_sha256)
    assert held.targets_version == 2
    from dataclasses import replace

    memory.save(memory.home(), head.key_id, replace(held, targets_version=3))
    refused = run("school", str(officers / "it.skschool"), "--key", str(key(made, "dsl")))
    assert refused.exit_code == 1
    assert "saw 3 before" in refused.output


@pytest.mark.parametrize("data", [b"", b"no grant at all", bytes(100)])
def test_what_is_no_grant_is_said_to_be_none(made: School, officers: Path, data: bytes) -> None:
    found = school.known(keyfile.read_head(key(made, "dsl")))
    with pytest.raises(grants.GrantError):
        grants.look(data, found, wall_ms())


def test_what_the_wire_calls_unspecified_cannot_be_granted(tmp_path: Path) -> None:
    done = run("new", "--kind", "unspecified", "--reason", "x", "--key", "k", "--out", str(tmp_path / "g"))
    assert done.exit_code == 2
    assert "emergency-block" in done.output
    assert {kind.value for kind in grant_cli.Granted} == {kind.value for kind in GrantKind} - {"unspecified"}
