"""`init`: a whole school, or nothing of it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import select
from typer import Typer
from typer.testing import CliRunner

from schoolkeeper_collector.devices.commands import register as register_devices
from schoolkeeper_collector.school import init
from schoolkeeper_collector.school.commands import register as register_school
from schoolkeeper_collector.school.escrow import escrow_context
from schoolkeeper_collector.school.keys import KeysError, load_keys
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.tables import accounts, ledger_queue, schools
from schoolkeeper_policies.officer import keyfile
from schoolkeeper_proto import enrolment_token, model, sealing, trust
from schoolkeeper_proto.codec import decode
from support.school import School, wall_ms


def options(folder: Path, **more: object) -> init.InitOptions:
    made = init.InitOptions(
        state_dir=folder,
        database_url=f"sqlite:///{folder}/collector.db",
        keystore_url=f"sqlite:///{folder}/keystore.db",
        school_id="westgate.example",
        school_name="Westgate",
        hosts=("127.0.0.1",),
        now_ms=wall_ms(),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_keys_are_private_and_the_offline_part_is_apart(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    for path in (school.folder / "keys").rglob("*"):
        if path.suffix == ".key":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    offline = school.folder / "offline"
    assert {p.name for p in offline.iterdir() if p.is_dir()} == {
        "root-1", "root-2", "root-3", "technician", "second-technician", "dsl", "head", "escrow",
    }  # fmt: skip
    online = b"".join(p.read_bytes() for p in (school.folder / "keys").rglob("*") if p.is_file())
    for name in ("root-1", "technician", "dsl"):
        assert school.officer(name).signing.private_bytes_raw() not in online
    assert "NOT PROTECTED" in (offline / "README.md").read_text()
    assert "filled in" in (school.folder / "data-protection.md").read_text()
    school.close()


def test_the_collector_works_without_its_offline_part(tmp_path: Path) -> None:
    import shutil

    school = School(tmp_path / "collector")
    shutil.rmtree(school.folder / "offline")
    school.repository.refresh(load_keys(school.folder).online, wall_ms(), force=True)
    assert school.repository.current().timestamp_version == 2
    school.close()


def test_any_two_officers_open_the_escrowed_ingest_key_and_no_single_one(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    key_id = school.keys.ingest_newest
    field = decode(
        model.SealedField,
        (school.folder / "offline" / "escrow" / f"ingest-{key_id.hex()}.sealed").read_bytes(),
    )
    context = escrow_context(school.school_id, key_id)
    dsl, technician = school.officer("dsl"), school.officer("second-technician")

    def recipient(keys: keyfile.OfficerKeys) -> bytes:
        return sealing.Recipient(name=keys.officer, public_key=keys.sealing.public_key()).key_id

    inner = sealing.approve(field, context, dsl.sealing, recipient(technician))
    content_key = sealing.view_key(inner, field, context, technician.sealing, recipient(dsl))
    opened = sealing.open_field(field, context, content_key)
    assert opened == school.keys.ingest[key_id].private_bytes_raw()
    with pytest.raises(sealing.SealingError):
        sealing.unwrap_key(field, context, dsl.sealing)
    with pytest.raises(sealing.SealingError):
        sealing.view_key(inner, field, context, dsl.sealing, recipient(dsl))
    school.close()


def test_listeners_certificates_hold_for_a_clock_that_died(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    for pair in school.keys.tls.values():
        for certificate in x509.load_pem_x509_certificates(pair.chain):
            assert certificate.not_valid_before_utc < datetime(1970, 1, 2, tzinfo=UTC)
            assert certificate.not_valid_after_utc > datetime(2090, 1, 1, tzinfo=UTC)
    school.close()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"school_id": "West Gate"}, "school id"),
        ({"groups": ("KS 2",)}, "group"),
        ({"hosts": ()}, "--address"),
        ({"passphrase": "short"}, "passphrase"),
        ({"officers": init.FOUR_OFFICERS[:2]}, "four officers"),
        ({"pack": "no-such-pack"}, "no-such-pack"),
    ],
)
def test_a_mistake_leaves_nothing_behind(tmp_path: Path, more: dict[str, object], words: str) -> None:
    folder = tmp_path / "collector"
    with pytest.raises(ValueError if "pack" in more else init.InitError, match=words):
        init.init_school(options(folder, **more))
    left = {p.name for p in folder.iterdir()} if folder.exists() else set()
    assert not left & {"keys", "trust", "offline", "data-protection.md"}
    assert not any(name.startswith(".init-") for name in left)


def test_a_failure_at_the_last_step_leaves_no_keys_and_no_school(tmp_path: Path) -> None:
    def fails(*_: object) -> tuple[str, ...]:
        raise OSError("the disk is full")

    folder = tmp_path / "collector"
    with pytest.raises(OSError, match="full"):
        init.init_school(options(folder), fails)
    assert not (folder / "keys").exists()
    assert init.init_school(options(folder)).school_id == "westgate.example", (
        "the same command works afterwards"
    )


def test_a_school_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "collector"
    init.init_school(options(folder))
    before = (folder / "keys" / "ca.key").read_bytes()
    with pytest.raises(init.InitError, match="this is a school already"):
        init.init_school(options(folder))
    assert (folder / "keys" / "ca.key").read_bytes() == before


def test_what_init_publishes_is_in_the_ledger_queue(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    with school.store.read() as connection:
        types = connection.execute(select(ledger_queue.c.type)).scalars().all()
    assert sorted(types) == ["key", "policy", "policy", "policy"], (
        "two bundles, the group map, the key statement"
    )
    school.close()


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "collector"
    init.init_school(options(folder))
    (folder / "keys" / "command.key").unlink()
    with pytest.raises(KeysError, match=r"command\.key.*restore"):
        load_keys(folder)


def test_keys_that_others_can_read_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """As ssh does. What the message names is enough."""
    folder = tmp_path / "collector"
    init.init_school(options(folder))
    (folder / "keys" / "ledger.key").chmod(0o644)
    (folder / "keys" / "tls" / "uplink.key").chmod(0o640)
    with pytest.raises(KeysError, match=r"ledger\.key and 1 more key files can be read by others") as caught:
        load_keys(folder)
    command = re.search(r"`(chmod [^`]+)`", str(caught.value))
    assert command
    subprocess.run(command[1].split(), check=True)
    assert load_keys(folder).school_id


def test_the_commands_make_a_school_a_token_and_no_second_school(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "collector"
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(folder))
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    app = Typer()
    register_school(app)
    register_devices(app)
    secret = tmp_path / "passphrase"
    secret.write_text("four quiet words here\n")
    made = ["init", "--school-id", "westgate.example", "--name", "Westgate", "--address", "127.0.0.1"]
    run = CliRunner().invoke
    result = run(app, [*made, "--passphrase-file", str(secret)])
    assert result.exit_code == 0, result.output
    assert "move it off this machine" in result.output
    key = folder / "offline" / "dsl" / "dsl.key"
    assert keyfile.is_protected(key)
    assert keyfile.load_keys(key, "four quiet words here").officer == "dsl"
    assert run(app, [*made, "--demo"]).exit_code == 1
    token = run(app, ["token", "create", "--group", "ks2-laptops", "--uses", "30", "--expires", "7d"])
    parsed = enrolment_token.parse(token.output)
    assert parsed.root_sha256 == trust.sha256((folder / "trust/metadata/1.root.json").read_bytes())
    wrong = run(app, ["token", "create", "--group", "ks9"])
    assert wrong.exit_code == 1
    assert "has no signed bundle" in wrong.output
    assert run(app, ["token", "create", "--group", "ks2-laptops", "--expires", "soon"]).exit_code == 1
    assert f"{parsed.token_id}  open        0/30" in run(app, ["token", "list"]).output
    assert run(app, ["token", "revoke", parsed.token_id]).exit_code == 0
    assert "revoked" in run(app, ["token", "list"]).output
    store = open_store(f"sqlite:///{folder}/collector.db", f"sqlite:///{folder}/keystore.db")
    with store.read() as connection:
        assert connection.execute(select(schools.c.school_id)).scalars().all() == ["westgate.example"]
        assert sorted(connection.execute(select(accounts.c.role)).scalars()) == ["dsl", "head", "technician"]
    assert token.output.strip().encode() not in (folder / "collector.db").read_bytes()
    store.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hosts": ("http://x y/",)}, "without scheme, port or path"),
        ({"hosts": ("collector.westgate.example:7443",)}, "without scheme, port or path"),
        ({"time_zone": "Nowhere"}, "for example Europe/London"),
        ({"time_zone": "../UTC"}, "for example Europe/London"),
    ],
)
def test_an_address_or_a_time_zone_that_is_none_makes_no_school(
    tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(init.InitError, match=said):
        init.init_school(options(tmp_path / "c", **wrong))
    assert not (tmp_path / "c").exists()
