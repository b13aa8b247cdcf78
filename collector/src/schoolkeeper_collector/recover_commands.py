"""``recover``: a new generation of the ledger after a restore from a backup, by the word of two officers."""

from __future__ import annotations

import getpass
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_collector.command_line import guarded, now_ms
from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.ledger.recovery import RecoveryRefused, draft, open_generation
from schoolkeeper_collector.ledger.sequencer import FencedError, Sequencer
from schoolkeeper_collector.school.keys import KeysError, ServiceKeys, load_keys
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store, StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.officer import keyfile
from schoolkeeper_proto import policy, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode

_FAULTS = (
    ConfigError,
    KeysError,
    StoreUrlError,
    SchemaError,
    FencedError,
    RecoveryRefused,
    RepositoryError,
    NotPublished,
    keyfile.KeyFileError,
    WireFormatError,
    OSError,
)
_KeyFiles = Annotated[list[Path] | None, typer.Option("--officer-key", help="An officer's key file; twice.")]


def register(app: typer.Typer) -> None:
    app.command()(recover)
    app.command(name="recover-sign")(recover_sign)


def recover(
    reason: Annotated[str, typer.Option(help="Why, for everyone who will read the ledger.")] = "",
    officer_key: _KeyFiles = None,
    write: Annotated[
        Path | None, typer.Option(help="Only write the statement to this file, to be signed.")
    ] = None,
    signed: Annotated[Path | None, typer.Option(help="A statement that two officers have signed.")] = None,
) -> None:
    """Open a new generation of the ledger after a restore. The collector must be stopped.

    Either both officers' key files are at hand (--officer-key twice), or: --write FILE, each officer runs
    `recover-sign FILE` where their key is, then --signed FILE.
    """

    def work() -> str:
        settings = load_settings()
        keys = load_keys(settings.state_dir)
        with closing(open_store(settings.store_url, settings.keys_url)) as store:
            check_schema(store)
            if signed is not None:
                entry = _statement_in(signed)
            else:
                entry = _draft(store, keys, reason)
                for path in officer_key or []:
                    entry = sign_entry(entry, path)
            if write is not None:
                write.write_bytes(encode(entry))
                return f"wrote {write}: two officers `recover-sign {write}`; then `recover --signed {write}`"
            return _open(store, keys, entry, Repository(settings.state_dir))

    typer.echo(guarded(work, _FAULTS, code=2))


def recover_sign(
    file: Annotated[Path, typer.Argument(help="The statement that `recover --write` made.")],
    officer_key: Annotated[Path, typer.Option("--officer-key", help="Your key file.")],
) -> None:
    """Read a recovery statement and sign it with an officer's key."""

    def work() -> str:
        entry = _statement_in(file)
        statement = decode(wire.RecoveryStatement, entry.statement)
        typer.echo(
            f"school {statement.school_id}: generation {statement.old_generation} ends, {statement.new_generation} "
            f"begins with {statement.restored_size} entries\nreason: {statement.reason}"
        )
        file.write_bytes(encode(sign_entry(entry, officer_key)))
        return f"signed; {file} now has {len(entry.signatures) + 1} signatures"

    typer.echo(guarded(work, _FAULTS, code=2))


def _statement_in(file: Path) -> wire.LedgerEntry:
    """Raises ``RecoveryRefused`` for a file of another kind."""
    data = file.read_bytes()
    wrong = wrong_kind(str(file), "a recovery statement", data, "name the one that `recover --write` made")
    try:
        entry = decode(wire.LedgerEntry, data)
        said = decode(wire.RecoveryStatement, entry.statement)
    except WireFormatError as error:
        raise RecoveryRefused(wrong) from error
    if not said.school_id:
        # Protobuf reads almost anything as an empty message.
        raise RecoveryRefused(wrong)
    return entry


def sign_entry(entry: wire.LedgerEntry, path: Path) -> wire.LedgerEntry:
    """The entry with one more signature; asks for the passphrase when the key file has one."""
    passphrase = getpass.getpass(f"Passphrase of {path}: ") if keyfile.is_protected(path) else None
    signature = statements.sign(
        statements.RECOVERY, entry.statement, keyfile.load_keys(path, passphrase).signer
    )
    return wire.LedgerEntry(
        type=entry.type, statement=entry.statement, signatures=(*entry.signatures, signature)
    )


def _draft(store: Store, keys: ServiceKeys, reason: str) -> wire.LedgerEntry:
    if not reason.strip():
        raise RecoveryRefused("--reason is missing: say why the ledger begins a new generation")
    with store.read() as connection:
        statement = draft(connection, keys.school_id, reason, now_ms())
    return wire.LedgerEntry(type=wire.StatementType.RECOVERY, statement=encode(statement))


def _open(store: Store, keys: ServiceKeys, entry: wire.LedgerEntry, repository: Repository) -> str:
    published = decode(policy.KeyStatement, repository.current().key_statement)
    officers = {officer.key_id: officer.signing_key for officer in published.officers}
    sequencer = Sequencer(store, keys.school_id, keys.ledger, "recover")
    sequencer.take_office(now_ms())
    try:
        with store.write() as connection:
            statement = open_generation(connection, sequencer, keys.school_id, entry, officers, now_ms())
        sequencer.committed()
    finally:
        sequencer.leave_office()
    return (
        f"generation {statement.new_generation} is open with {statement.restored_size} entries of the backup; "
        "start the collector: devices send again what they still hold, and what stays missing is shown as gaps"
    )
