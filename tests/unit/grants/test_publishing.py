"""`grant publish`: what a device would refuse is refused here first; what is taken is in the ledger, sent, counted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.ingest.telling import tell
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.wire import GrantKind
from support.collector import add_device
from support.device import DeviceIdentity
from support.granting import Person, block_payload, demo_officer, ends, signed, statement
from support.school import GROUP, HOUR_MS, School, wall_ms

Publish = Callable[..., str]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    made = School(tmp_path_factory.mktemp("school") / "collector")
    yield made
    made.close()


@pytest.fixture
def run(school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))

    def words(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(make_app(), ["grant", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    return words


@pytest.fixture
def publish(run: Callable[..., str], tmp_path: Path) -> Publish:
    def one(grant: wire.Grant | bytes, *, code: int = 0) -> str:
        file = tmp_path / "one.skgrant"
        file.write_bytes(grant if isinstance(grant, bytes) else encode(grant))
        return " ".join(run("publish", str(file), code=code).split())

    return one


def officer(school: School, name: str) -> Person:
    return demo_officer(school.folder / "offline", name)


def grant(school: School, kind: GrantKind, **fields: object) -> wire.GrantStatement:
    now = wall_ms()
    values: dict[str, object] = {
        "school_id": school.school_id,
        "not_before_unix_ms": now,
        "expires_unix_ms": now + HOUR_MS,
        "groups": (GROUP,),
    }
    return statement(kind, **(values | fields))  # type: ignore[arg-type]


def test_what_is_published_is_in_the_ledger_once_sent_and_listed(
    school: School, publish: Publish, run: Callable[..., str]
) -> None:
    said = grant(school, GrantKind.OBSERVE, rule_ids=("bypass.tor",))
    whole = signed(said, officer(school, "technician"), officer(school, "dsl"))
    assert f"observe {said.grant_id.hex()} is published" in publish(whole)
    publish(whole)  # once more changes nothing
    with school.store.read() as connection:
        rows = connection.execute(select(tables.ledger_queue.c.entry)).scalars().all()
    entries = [decode(wire.LedgerEntry, bytes(row)) for row in rows]
    policies = [
        decode(wire.PolicyStatement, one.statement)
        for one in entries
        if one.type is wire.StatementType.POLICY
    ]
    (entry,) = [one for one in policies if one.name == f"grants/{said.grant_id.hex()}"]
    assert entry.sha256 == hashlib.sha256(encode(whole)).digest()
    live = DirectiveSource(school.store, school.school_id).poll(wall_ms()).grants
    (found,) = [one for one in live if one.grant_id == said.grant_id]
    assert found.grant == whole
    assert found.concerns(b"d" * 16, GROUP)
    assert not found.concerns(b"d" * 16, "staff-laptops")
    assert f"{said.grant_id.hex()}  observe" in run("list")
    assert "bypass.tor" in run("show", said.grant_id.hex()[:10])


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"school_id": "another.example"}, "is of the school 'another.example'"),
        ({"groups": ("no-such",)}, "there is no group 'no-such'; groups with a signed bundle"),
        ({"groups": (), "device_ids": (b"u" * 16,)}, "there is no device " + (b"u" * 16).hex()),
        ({"kind": GrantKind.RELEASE}, "a release must name the grants that end"),
        ({"rule_ids": ("no.such",)}, "the policy in force has no rule 'no.such'"),
        ({"not_before_unix_ms": 1, "expires_unix_ms": 10 + HOUR_MS}, "has expired"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_nothing_is_stored(
    school: School, publish: Publish, fields: dict[str, object], word: str
) -> None:
    said = grant(school, **({"kind": GrantKind.OBSERVE} | fields))  # type: ignore[arg-type]
    told = publish(signed(said, officer(school, "technician"), officer(school, "dsl")), code=1)
    assert word in told
    with school.store.read() as connection:
        where = tables.grants.c.grant_id == said.grant_id
        assert connection.execute(select(tables.grants).where(where)).first() is None


def test_what_is_no_grant_is_said_to_be_none(publish: Publish, run: Callable[..., str]) -> None:
    assert "is not a signed grant (.skgrant); it looks like" in publish(b"\xff\xff\xff", code=1)
    assert "cannot be read" in run("publish", "/no/such/file", code=1)
    assert "no grants begin with 'ffff'" in run("show", "ffff", code=1)


def test_the_same_id_with_other_content_is_refused(school: School, publish: Publish) -> None:
    both = officer(school, "technician"), officer(school, "dsl")
    first = grant(school, GrantKind.OBSERVE)
    publish(signed(first, *both))
    second = grant(school, GrantKind.OBSERVE, grant_id=first.grant_id, rule_ids=("bypass.tor",))
    assert "sign a new one with an id of its own" in publish(signed(second, *both), code=1)


def test_a_published_block_is_ended_by_two_and_not_by_one(
    school: School, publish: Publish, run: Callable[..., str]
) -> None:
    technician, dsl = officer(school, "technician"), officer(school, "dsl")
    block = grant(school, GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    publish(signed(block, technician))
    revoke = grant(school, GrantKind.REVOKE, payload=ends(block.grant_id))
    assert "not permitted" in publish(signed(revoke, technician), code=1)
    publish(signed(revoke, technician, dsl))
    (line,) = [one for one in run("list").splitlines() if one.startswith(block.grant_id.hex())]
    assert "revoked" in line


def test_what_devices_say_is_counted_by_the_latest_word(
    school: School, publish: Publish, run: Callable[..., str]
) -> None:
    said = grant(school, GrantKind.OBSERVE)
    publish(signed(said, officer(school, "technician"), officer(school, "dsl")))
    identity = DeviceIdentity.issued(school.school_id)
    add_device(school.store, identity, school_id=school.school_id)
    with school.store.read() as connection:
        where = tables.devices.c.device_id == identity.device_id
        device_no = connection.execute(select(tables.devices.c.device_no).where(where)).scalar_one()

    def hears(at_ms: int, body: model.Body) -> None:
        event = model.Event(
            id=model.EventId(os.urandom(16)), wall_unix_ms=at_ms, monotonic_ms=0, boot_id=b"", body=body
        )
        changes = Changes(school.school_id)
        with school.store.write() as connection:
            tell(connection, changes, device_no, event, at_ms)
            changes.flush(connection, school.store.keystore, at_ms)

    def line() -> str:
        (found,) = [one for one in run("list").splitlines() if one.startswith(said.grant_id.hex())]
        return found

    hears(2_000, model.GrantApplied(grant_id=said.grant_id))
    assert "applied 1, ended 0, refused 0" in line()
    hears(3_000, model.GrantEnded(grant_id=said.grant_id, reason="its time is over"))
    hears(1_000, model.GrantEnded(grant_id=said.grant_id, reason="refused: came late"))
    assert "applied 0, ended 1, refused 0" in line()
    assert "its time is over" in run("show", said.grant_id.hex())
    # What was never published here fills no table.
    hears(4_000, model.GrantApplied(grant_id=b"z" * 16))
    with school.store.read() as connection:
        kept = connection.execute(select(tables.grant_states.c.grant_id)).scalars().all()
    assert [bytes(one) for one in kept] == [said.grant_id]
