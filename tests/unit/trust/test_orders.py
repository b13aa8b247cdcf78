"""`device command`: signed as an agent asks for, picked up by the collector's polling, its answer shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import update
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import policy, statements, wire
from schoolkeeper_proto.codec import decode
from support.collector import add_device
from support.device import DeviceIdentity
from support.school import HOUR_MS, School, wall_ms


def test_a_command_is_signed_sent_once_and_its_answer_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = School(tmp_path / "collector")
    identity = DeviceIdentity.issued(school.school_id)
    add_device(school.store, identity, school_id=school.school_id)
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    name = identity.device_id.hex()[:12]

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(make_app(), ["device", *words])
        assert result.exit_code == code, result.output
        return result.output

    orders = {
        "refresh-policy": wire.RefreshPolicy(),
        "canary": wire.SendCanary(),
        "report-posture": wire.ReportPosture(),
        "renew": wire.RenewCertificate(),
    }
    keys = decode(policy.KeyStatement, school.repository.current().key_statement).command_keys
    for word, order in orders.items():
        run("command", name, word)
        (found,) = DirectiveSource(school.store, school.school_id).poll(wall_ms()).commands
        (raw,) = [key.public_key for key in keys if key.key_id == found.command.key_id]
        statements.verify(
            statements.COMMAND,
            found.command.statement,
            found.command.signature,
            Ed25519PublicKey.from_public_bytes(raw),
        )
        statement = decode(wire.CommandStatement, found.command.statement)
        assert (statement.order, statement.device_id) == (order, identity.device_id)
        assert abs(statement.expires_unix_ms - wall_ms() - HOUR_MS) < 60_000
        assert f"{word:15} waiting" in run("show", name)
        with school.store.write() as connection:
            answered = update(tables.commands).where(tables.commands.c.command_id == found.command_id)
            connection.execute(answered.values(answered_ms=wall_ms(), succeeded=word != "renew", detail="so"))
        shown = run("show", name)
        assert f"{word:15} {'done' if word != 'renew' else 'FAILED'}" in shown
        assert "so\n" in shown
        time.sleep(0.002)
    run("command", name, "canary", "--expires", "1m")
    with school.store.write() as connection:
        waiting = update(tables.commands).where(tables.commands.c.answered_ms.is_(None))
        connection.execute(waiting.values(expires_ms=wall_ms() - 1))
    assert "canary          expired" in run("show", name)
    with school.store.write() as connection:
        connection.execute(update(tables.devices).values(status="revoked"))
    assert "takes no commands" in run("command", name, "canary", code=1)
    school.close()
