"""Officers' key files, and a change of policy on its way from stage to publication."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.commands import register
from schoolkeeper_collector.school.keys import load_keys as load_service_keys
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.repository import RepositoryError
from schoolkeeper_policies.officer import cli, keyfile, signing
from schoolkeeper_policies.officer.exposure import exposed
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode
from support.school import GROUP, School, wall_ms

PASSPHRASE = "correct horse battery staple"


def test_a_key_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    keys = keyfile.new_keys("dsl", trust.Duty.SAFEGUARDING)
    path = tmp_path / "dsl.key"
    keyfile.save_keys(path, keys, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    back = keyfile.load_keys(path, PASSPHRASE)
    assert back.signing.private_bytes_raw() == keys.signing.private_bytes_raw()
    assert back.sealing.private_bytes_raw() == keys.sealing.private_bytes_raw()
    assert (back.officer, back.duty) == ("dsl", trust.Duty.SAFEGUARDING)
    with pytest.raises(keyfile.KeyFileError, match="wrong passphrase"):
        keyfile.load_keys(path, PASSPHRASE + "r")
    with pytest.raises(keyfile.KeyFileError, match="passphrase is needed"):
        keyfile.load_keys(path, None)
    with pytest.raises(keyfile.KeyFileError, match="not overwritten"):
        keyfile.save_keys(path, keys, PASSPHRASE)
    with pytest.raises(keyfile.KeyFileError, match="four or more words"):
        keyfile.save_keys(tmp_path / "other", keys, "short")
    assert not (tmp_path / "other").exists()


def test_a_duty_cannot_be_edited_into_a_key_file(tmp_path: Path) -> None:
    import base64

    path = tmp_path / "it.key"
    keyfile.save_keys(path, keyfile.new_keys("it", trust.Duty.TECHNICAL), PASSPHRASE)
    lines = path.read_text().splitlines()
    body = json.loads(base64.b64decode("".join(lines[1:-1])))
    body["duty"] = "safeguarding"
    path.write_text("\n".join([lines[0], base64.b64encode(json.dumps(body).encode()).decode(), lines[-1]]))
    with pytest.raises(keyfile.KeyFileError, match="altered"):
        keyfile.load_keys(path, PASSPHRASE)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"-----BEGIN SCHOOLKEEPER OFFICER KEY-----\nAAAA\n", os.urandom(200)]
)
def test_what_is_no_key_file_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(data)
    with pytest.raises(keyfile.KeyFileError, match=r"x\.key"):
        keyfile.load_keys(path, PASSPHRASE)


def test_a_key_file_that_others_can_read_is_refused_but_not_on_a_stick_without_rights(tmp_path: Path) -> None:
    path = tmp_path / "it.key"
    keyfile.save_keys(path, keyfile.new_keys("it", trust.Duty.TECHNICAL), PASSPHRASE)
    path.chmod(0o644)
    with pytest.raises(keyfile.KeyFileError, match=rf"chmod 600 {path}"):
        keyfile.load_keys(path, PASSPHRASE)
    device = path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    line = f"29 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - {{}} /dev/sdb1 rw\n"
    for kind, seen in (("ext4", True), ("vfat", False), ("exfat", False)):
        mounts.write_text("28 1 0:99 / /proc rw - proc proc rw\n" + line.format(kind))
        assert exposed(path, mounts) is seen
    assert exposed(path, tmp_path / "none"), "a machine that does not say"
    path.chmod(0o600)
    assert keyfile.load_keys(path, PASSPHRASE).officer == "it"


@pytest.mark.requirement("W-17")
def test_a_change_needs_both_duties_before_it_is_published(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    bundle = compile_bundle("default", school.keys, group=GROUP, version=2, now_ms=wall_ms())
    folder = staging.stage(school.folder, school.keys, {trust.bundle_target(GROUP): bundle}, wall_ms())

    def sign(officer: str) -> str:
        key = school.folder / "offline" / officer / f"{officer}.key"
        result = CliRunner().invoke(cli.app, ["sign", str(folder), "--key", str(key), "--yes"])
        return result.output

    assert f"changed  bundles/{GROUP}" in sign("technician")
    sign("second-technician")
    with pytest.raises(trust.TrustRefused, match="no safeguarding officer"):
        staging.publish_staged(school.folder, school.keys, wall_ms())
    assert school.repository.current().bundles[GROUP][1] == 1, "nothing was published"
    assert "no new root is staged" in sign("root-1")
    sign("head")
    before = school.repository.current()
    published = staging.publish_staged(school.folder, school.keys, wall_ms())
    assert published.bundles[GROUP] == (trust.sha256(bundle), 2)
    with school.store.write() as connection:
        # The bundle, and the change log's entry.
        assert note_published(connection, school.school_id, before, published, wall_ms()) == 2
    with pytest.raises(RepositoryError, match="comes first"):
        staging.publish_staged(school.folder, school.keys, wall_ms())
    school.close()


def test_an_officer_signs_only_what_is_there_to_be_looked_at(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    bundle = compile_bundle("default", school.keys, group=GROUP, version=2, now_ms=wall_ms())
    folder = staging.stage(school.folder, school.keys, {trust.bundle_target(GROUP): bundle}, wall_ms())
    next((folder / "targets" / "bundles").glob(f"*.{GROUP}")).unlink()
    with pytest.raises(trust.TrustRefused, match="looked at"):
        signing.sign_staged(folder, school.officer("dsl"))
    school.close()


def test_an_officer_leaves_and_another_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two root keys name the new officer; from then on the old one's signature is worth nothing."""
    school = School(tmp_path / "collector")
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    collector = typer.Typer()
    register(collector)
    run = CliRunner().invoke
    new = tmp_path / "new.key"
    keyfile.save_keys(new, keyfile.new_keys("deputy", trust.Duty.SAFEGUARDING), None)
    pinned = run(cli.app, ["pin", school.result.root_sha256.hex(), "--key", str(new)])
    assert pinned.exit_code == 0, pinned.output
    handed_in = tmp_path / "deputy.json"
    assert (
        run(cli.app, ["keys", "public", str(new), "--out", str(handed_in), "--title", "deputy-dsl"]).exit_code
        == 0
    )
    assert keyfile.load_keys(new, None).signing.private_bytes_raw().hex() not in handed_in.read_text()
    staged = run(collector, ["stage", "--replace-officer", "dsl", "--by", str(handed_in)])
    assert staged.exit_code == 0, staged.output
    folder = school.folder / "trust" / "staged"

    def sign(path: Path) -> str:
        return run(cli.app, ["sign", str(folder), "--key", str(path), "--yes"]).output

    def offline(name: str) -> Path:
        return school.folder / "offline" / name / f"{name}.key"

    sign(offline("technician"))
    assert "does not list this key" in sign(offline("dsl"))
    sign(new)
    sign(offline("root-1"))
    refused = run(collector, ["publish"])
    assert "1 of 2 distinct keys" in refused.output
    assert school.repository.current().root_version == 1
    shown = sign(offline("root-3"))
    assert "officer dsl (safeguarding) leaves" in shown
    assert "officer deputy (safeguarding) comes" in shown
    published = run(collector, ["publish"])
    assert published.exit_code == 0, published.output
    now = school.repository.current()
    assert now.root_version == 2
    officers = decode(policy.KeyStatement, now.key_statement).officers
    assert {o.officer_id for o in officers} == {"technician", "second-technician", "head", "deputy"}
    school.close()


def test_one_more_ingest_key_is_used_once_officers_signed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = School(tmp_path / "collector")
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    collector = typer.Typer()
    register(collector)
    staged = CliRunner().invoke(collector, ["stage", "--new-ingest-key"])
    assert staged.exit_code == 0, staged.output
    assert "Restart the collector BEFORE" in staged.output
    for officer in ("technician", "dsl"):
        signing.sign_staged(school.folder / "trust" / "staged", school.officer(officer))
    assert CliRunner().invoke(collector, ["publish"]).exit_code == 0
    old, new = decode(policy.KeyStatement, school.repository.current().key_statement).ingest_keys
    held = load_service_keys(school.folder).ingest
    assert set(held) == {old.key_id, new.key_id}, "the retired key still opens what was sealed to it"
    assert old.advertised_until_unix_ms < new.advertised_until_unix_ms
    assert new.not_before_unix_ms > old.not_before_unix_ms
    assert (school.folder / "escrow" / f"ingest-{new.key_id.hex()}.sealed").is_file()
    school.close()
