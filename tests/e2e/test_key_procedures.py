"""Each procedure of the key handbook, rehearsed with the real commands, a real repository and a real device's trust."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.ledger.fsck import check_store
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.school import roots, rotation
from schoolkeeper_collector.school.commands import register
from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_collector.school.repository import Repository, RepositoryError
from schoolkeeper_policies.officer import cli, keyfile, signing
from schoolkeeper_proto import checkpoint, policy, trust, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.trust import Duty
from support.laptop import Laptop
from support.school import GROUP, School, wall_ms


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    made = School(tmp_path_factory.mktemp("school") / "collector")
    yield made
    made.close()


@dataclass
class Office:
    """A school, the commands of both programs, and one device."""

    school: School
    laptop: Laptop
    folder: Path
    app: typer.Typer

    def collector(self, *arguments: str, good: bool = True) -> Result:
        done = CliRunner().invoke(self.app, list(arguments))
        assert (done.exit_code == 0) is good, done.output
        return done

    def officer(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.app, list(arguments))

    def key(self, name: str) -> Path:
        made = self.folder / f"{name}.key"
        return made if made.exists() else self.school.folder / "offline" / name / f"{name}.key"

    def new_person(self, name: str, duty: Duty | None, title: str) -> Path:
        """What somebody new does on their own machine; returns what they hand in."""
        key = self.folder / f"{name}.key"
        keyfile.save_keys(key, keyfile.new_keys(name, duty), None)
        root_hash = self.school.result.root_sha256.hex()
        assert self.officer("pin", root_hash, "--key", str(key)).exit_code == 0
        handed_in = self.folder / f"{name}.json"
        done = self.officer("keys", "public", str(key), "--out", str(handed_in), "--title", title)
        assert done.exit_code == 0, done.output
        return handed_in

    def sign(self, *names: str) -> None:
        for name in names:
            staged = str(self.school.folder / "trust" / "staged")
            done = self.officer("sign", staged, "--key", str(self.key(name)), "--yes")
            assert done.exit_code == 0, done.output

    def cannot_sign(self, name: str) -> str:
        staged = str(self.school.folder / "trust" / "staged")
        done = self.officer("sign", staged, "--key", str(self.key(name)), "--yes")
        assert done.exit_code == 1, done.output
        return done.output

    def publish_and_take(self) -> None:
        self.collector("publish")
        assert self.laptop.update().changed
        self.laptop.in_force()

    def change_policy(self, *names: str) -> None:
        """An ordinary change, to see that policy still flows."""
        self.collector("stage", "--group", GROUP)
        self.sign(*names)
        self.publish_and_take()

    @property
    def statement(self) -> policy.KeyStatement:
        return decode(policy.KeyStatement, self.school.repository.current().key_statement)


@pytest.fixture
def office(template: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    folder = tmp_path / "collector"
    shutil.copytree(template.folder, folder)
    copy = object.__new__(School)
    copy.__dict__.update(template.__dict__)
    copy.folder, copy.repository = folder, Repository(folder)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(folder))
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_OFFICER_HOME", str(tmp_path / "home"))
    app = typer.Typer()
    register(app)
    return Office(copy, Laptop.enrolled(copy, tmp_path / "laptop"), tmp_path, app)


def test_a_lost_key_is_replaced_by_the_same_person(office: Office) -> None:
    handed_in = office.new_person("dsl-2026", Duty.SAFEGUARDING, "dsl")
    office.collector("stage", "--replace-officer", "dsl", "--by", str(handed_in), "--why", "key lost")
    office.sign("root-1", "root-2", "technician", "dsl-2026")
    office.publish_and_take()
    office.change_policy("technician", "dsl-2026")
    assert "dsl-2026" in office.collector("officers").output


def test_a_stolen_key_signs_nothing_any_more_here_or_on_a_device(office: Office) -> None:
    """The thief has the DSL's key, and the collector obeys the thief: a device that knows root 2 does not."""
    handed_in = office.new_person("dsl-2026", Duty.SAFEGUARDING, "dsl")
    office.collector(
        "stage-keys", "--remove-officer", "dsl", "--add-officer", str(handed_in), "--why", "stolen"
    )
    office.sign("root-2", "root-3", "second-technician", "head")
    office.publish_and_take()
    office.collector("stage", "--group", GROUP)
    assert "does not list this key" in office.cannot_sign("dsl")
    office.sign("technician")
    staged = office.school.folder / "trust" / "staged" / "targets.json"
    staged.write_bytes(signing.sign_metadata(staged.read_bytes(), office.school.officer("dsl"), None))
    assert "no safeguarding officer" in office.collector("publish", good=False).output
    force(office, staged.read_bytes())
    before = office.laptop.in_force()
    refused = office.laptop.update()
    assert refused.refused == "no-safeguarding-signature"
    assert office.laptop.in_force() == before


def force(office: Office, targets: bytes) -> None:
    """What a collector that obeys a thief publishes without asking anybody."""
    folder, online = office.school.folder / "trust" / "metadata", load_keys(office.school.folder).online
    now = office.school.repository.current()
    version = trust.unchecked_targets(targets).version
    (folder / f"{version}.targets.json").write_bytes(targets)
    parts = {
        "targets": targets,
        "groups": (folder / f"{now.groups_version}.groups.json").read_bytes(),
        "rollout": (folder / f"{now.rollout_version}.rollout.json").read_bytes(),
    }
    snapshot = roots.make_snapshot(
        version=now.snapshot_version + 1, parts=parts, online=online, now_ms=wall_ms()
    )
    (folder / f"{now.snapshot_version + 1}.snapshot.json").write_bytes(snapshot)
    stamp = roots.make_timestamp(
        version=now.timestamp_version + 1, snapshot=snapshot, online=online, now_ms=wall_ms()
    )
    (folder / "timestamp.json").write_bytes(stamp)


def test_an_officer_leaves_without_a_successor_as_long_as_enough_stay(office: Office) -> None:
    office.collector("stage-keys", "--remove-officer", "head", "--why", "retired")
    office.sign("root-1", "root-2", "technician", "dsl")
    office.publish_and_take()
    assert {o.officer_id for o in office.statement.officers} == {"technician", "second-technician", "dsl"}
    office.collector("stage-keys", "--remove-officer", "second-technician", "--why", "x", good=False)
    refused = office.collector("stage-keys", "--remove-officer", "nobody", "--why", "x", good=False)
    assert "knows no officer 'nobody'" in refused.output
    last = office.collector("stage-keys", "--remove-officer", "dsl", "--why", "x", good=False)
    assert "error" in last.output


def test_the_second_officer_is_off_sick(office: Office) -> None:
    """One of each duty is enough, whoever it is; when both of a duty are away, two root keys make a deputy."""
    office.change_policy("second-technician", "head")
    handed_in = office.new_person("deputy", Duty.SAFEGUARDING, "deputy-dsl")
    office.collector("stage-keys", "--add-officer", str(handed_in), "--why", "dsl and head are ill")
    office.sign("root-1", "root-3", "technician", "deputy")
    office.publish_and_take()
    office.change_policy("technician", "deputy")
    assert "second-technician" in office.collector("officers").output, "nobody else lost anything"


def test_the_online_key_changes(office: Office) -> None:
    old = load_keys(office.school.folder).online
    office.collector("stage-keys", "--new-online-key", "--why", "yearly")
    office.sign("root-1", "root-2", "technician", "dsl")
    office.publish_and_take()
    new = load_keys(office.school.folder).online
    assert new.public_key().public_bytes_raw() != old.public_key().public_bytes_raw()
    with pytest.raises(RepositoryError, match="restart it"):
        office.school.repository.refresh(old, wall_ms(), force=True)
    now = office.school.repository.current()
    snapshot = office.school.repository.read_file(f"metadata/{now.snapshot_version}.snapshot.json")
    stamp = roots.make_timestamp(
        version=now.timestamp_version + 1, snapshot=snapshot, online=old, now_ms=wall_ms()
    )
    path = office.school.folder / "trust" / "metadata" / "timestamp.json"
    good = path.read_bytes()
    path.write_bytes(stamp)
    assert office.laptop.update().refused == "signature"
    path.write_bytes(good)
    office.change_policy("technician", "dsl")


def test_a_publication_that_was_cut_off_still_finds_its_online_key(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.collector("stage-keys", "--new-online-key", "--why", "yearly")
    office.sign("root-1", "root-2", "technician", "dsl")
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "settle_online_key", lambda _: False)
        office.collector("publish")
    office.collector("refresh")
    assert not (office.school.folder / "keys" / "online-next.key").exists()
    assert office.laptop.update().changed


def test_a_root_key_changes(office: Office) -> None:
    handed_in = office.new_person("root-4", None, "root")
    gone = office.school.officer("root-3").signing.public_key().public_bytes_raw().hex()
    office.collector(
        "stage-keys",
        "--replace-root-key",
        gone[:16],
        "--root-key-by",
        str(handed_in),
        "--why",
        "envelope lost",
    )
    office.sign("root-1", "root-4", "technician", "dsl")
    refused = office.collector("publish", good=False)
    assert "1 of 2 distinct keys" in refused.output, "a new root key cannot vote itself in"
    office.sign("root-2")
    office.publish_and_take()
    assert office.laptop.in_force().root_version == 2
    office.collector("stage-keys", "--new-online-key", "--why", "next")
    office.cannot_sign("root-3")
    office.sign("root-2", "root-4", "technician", "dsl")
    office.publish_and_take()
    assert office.laptop.in_force().root_version == 3


def test_the_ledger_key_changes_in_three_steps(office: Office) -> None:
    def believes(key: Ed25519PrivateKey) -> bool:
        origin = office.laptop.in_force().key_statement.ledger_origin
        point = checkpoint.Checkpoint(origin=origin, size=1, root=bytes(32))
        try:
            checkpoint.verify(checkpoint.sign(point, key), office.laptop.in_force().ledger_keys)
        except checkpoint.CheckpointError:
            return False
        return True

    old = load_keys(office.school.folder).ledger
    assert "stage-keys --new-ledger-key" in office.collector("switch", "ledger", good=False).output
    office.collector("stage-keys", "--new-ledger-key", "--why", "yearly")
    assert "listed" in office.collector("switch", "ledger", good=False).output
    office.sign("technician", "dsl")
    office.publish_and_take()
    office.collector("switch", "ledger")
    new = load_keys(office.school.folder).ledger
    assert believes(old)
    assert believes(new)
    office.collector("stage-keys", "--retire-ledger-key", "--why", "all devices came back")
    office.sign("technician", "dsl")
    office.publish_and_take()
    assert (believes(old), believes(new)) == (False, True)
    held = load_keys(office.school.folder).ledger_public
    assert set(held) == {key.public_key().public_bytes_raw() for key in (old, new)}, (
        "old entries stay verifiable"
    )


def test_the_ingest_key_changes_and_the_old_one_still_opens(office: Office) -> None:
    before = office.laptop.in_force().ingest_key(wall_ms())
    office.collector("stage-keys", "--new-ingest-key", "--why", "yearly")
    office.sign("technician", "dsl")
    office.publish_and_take()
    after = office.laptop.in_force().ingest_key(wall_ms() + 1000)
    assert after.key_id != before.key_id
    assert set(load_keys(office.school.folder).ingest) == {before.key_id, after.key_id}
    old = next(key for key in office.statement.ingest_keys if key.key_id == before.key_id)
    assert old.advertised_until_unix_ms <= wall_ms() + 30 * 86_400_000


def test_a_ledger_with_checkpoints_of_two_keys_is_sound(tmp_path: Path) -> None:
    """What the old key signed stays checkable; without its public key `fsck` says that it is not."""
    school = School(tmp_path / "collector")
    first, second = school.keys.ledger, Ed25519PrivateKey.generate()
    for key in (first, second):
        sequencer = Sequencer(school.store, school.school_id, key, "test")
        sequencer.take_office(wall_ms())
        said = wire.KeyStatementEntry(
            school_id=school.school_id,
            key_statement_hash=key.public_key().public_bytes_raw(),
            at_unix_ms=wall_ms(),
        )
        entry = wire.LedgerEntry(type=wire.StatementType.KEY, statement=encode(said))
        with school.store.write() as connection:
            queue.submit(connection, school.school_id, entry, wall_ms())
            sequencer.begin(connection)
            sequencer.finish(connection, wall_ms())
        sequencer.committed()
        sequencer.leave_office()
    raw = tuple(key.public_key().public_bytes_raw() for key in (second, first))
    assert [f for f in check_store(school.store, school.school_id, raw) if f.fatal] == []
    assert [f for f in check_store(school.store, school.school_id, raw[:1]) if f.fatal]
    school.close()
