"""``schoolkeeper-collector``: the service itself, and what is done to it from the command line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from sqlalchemy.exc import DatabaseError, OperationalError

from schoolkeeper_collector import recover_commands
from schoolkeeper_collector.config import ConfigError, config_file, load_settings
from schoolkeeper_collector.console import commands as console_commands
from schoolkeeper_collector.detection import commands as rule_commands
from schoolkeeper_collector.devices import commands as device_commands
from schoolkeeper_collector.devices import grants_commands, inventory_commands, recovery_keys
from schoolkeeper_collector.incidents import hold_commands
from schoolkeeper_collector.ledger.fsck import check_store
from schoolkeeper_collector.ledger.proofs import NotProvable, event_proof
from schoolkeeper_collector.ledger.sequencer import FencedError
from schoolkeeper_collector.rehearsal import commands as rehearsal_commands
from schoolkeeper_collector.reports import commands as snapshot_commands
from schoolkeeper_collector.rollout import commands as rollout_commands
from schoolkeeper_collector.school import commands as school_commands
from schoolkeeper_collector.school.keys import KeysError, load_keys
from schoolkeeper_collector.school.pack_in_force import PackInForceError
from schoolkeeper_collector.store.database import StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_collector.store.migrate import migrate as migrate_store
from schoolkeeper_collector.updates import commands as update_commands
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.version_option import add_version
from schoolkeeper_proto.checkpoint import origin_of, verifier_key

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    KeysError,
    StoreUrlError,
    SchemaError,
    FencedError,
    NotProvable,
    PackInForceError,
    PolicyError,
)
_MAX_SHOWN = 200


def make_app() -> typer.Typer:
    app = typer.Typer(name="schoolkeeper-collector", no_args_is_help=True, pretty_exceptions_enable=False)
    add_version(app, "schoolkeeper-collector", "schoolkeeper-collector")
    app.command()(run)
    app.command()(migrate)
    app.command()(fsck)
    app.command(name="export-proof")(export_proof)
    for module in (
        school_commands,
        device_commands,
        grants_commands,
        inventory_commands,
        rollout_commands,
        update_commands,
        rehearsal_commands,
        console_commands,
        rule_commands,
        recover_commands,
        hold_commands,
        snapshot_commands,
        recovery_keys,
    ):
        module.register(app)
    return app


def main() -> None:
    """A fault that no command expects still names its place: a disk, a file, a database."""
    try:
        make_app()()
    except (DatabaseError, OSError) as error:
        if isinstance(error, DatabaseError) and type(error) not in (OperationalError, DatabaseError):
            raise  # a mistake of ours: its trace is needed
        sys.stderr.write(f"error: {said(error)}\n")
        raise SystemExit(2) from None


def run() -> None:
    """Serve devices and the console until told to stop (SIGTERM)."""
    from schoolkeeper_collector import bootstrap, following
    from schoolkeeper_collector.logging import configure

    def work() -> None:
        settings = load_settings()
        configure(settings.log_level)
        collector = bootstrap.open_collector(settings, following.follower_of)
        asyncio.run(bootstrap.serve(collector))

    try:
        guarded(work)
    except bootstrap.StartError as error:
        fail(error)


def migrate() -> None:
    """Bring both databases to the schema of this version. Safe to repeat."""

    def work() -> None:
        settings = load_settings()
        migrate_store(settings.store_url, settings.keys_url)
        typer.echo("both databases are at the newest schema")

    guarded(work)


def fsck() -> None:
    """Recompute the ledger and every table beside it; name what does not match. Exit code 1 if anything is wrong."""

    def work() -> bool:
        settings, began = load_settings(), time.monotonic()
        keys = load_keys(settings.state_dir)
        fatal = shown = 0
        with closing(open_store(settings.store_url, settings.keys_url)) as store:
            check_schema(store)
            for finding in check_store(store, keys.school_id, keys.ledger_public):
                fatal += finding.fatal
                shown += 1
                if shown <= _MAX_SHOWN:
                    typer.echo(f"{'WRONG' if finding.fatal else 'note '}  {finding}")
        if shown > _MAX_SHOWN:
            typer.echo(f"... and {shown - _MAX_SHOWN} more")
        verdict = (
            "sound" if not fatal else f"{fatal} things are wrong: keep this database, restore from a backup"
        )
        typer.echo(f"{verdict} ({time.monotonic() - began:.1f} s)")
        return not fatal

    if not guarded(work):
        raise typer.Exit(1)


def export_proof(
    event_no: Annotated[int, typer.Argument(help="The number of the event.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; standard output otherwise.")] = None,
) -> None:
    """Write the proof of one event, for `schoolkeeper-verify`."""

    def work() -> tuple[str, str]:
        settings = load_settings()
        keys = load_keys(settings.state_dir)
        ledger_key = verifier_key(origin_of(keys.school_id, 1), keys.ledger_public[0])
        with closing(open_store(settings.store_url, settings.keys_url)) as store:
            check_schema(store)
            with store.read() as connection:
                return event_proof(connection, store.keystore, keys.school_id, event_no).to_json(), ledger_key

    text, ledger_key = guarded(work)
    if out is None:
        sys.stdout.write(text)
    else:
        guarded(lambda: out.write_text(text))
        typer.echo(f"wrote {out}; check it with schoolkeeper-verify {out} --ledger-key {ledger_key}")


def guarded(work: Callable[[], T]) -> T:
    """Known faults end the command with their own words and exit code 2."""
    try:
        return work()
    except OSError as error:
        fail(said(error))
    except _FAULTS as error:
        fail(error)
    except OperationalError as error:
        fail(said(error))


def said(error: DatabaseError | OSError) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}: look at the path, its owner and the room on its disk"
    if type(error) is DatabaseError:  # SQLite: malformed, or no database at all
        return (
            f"a database is damaged: {str(error.orig).strip()}. Keep the files that database_url and keystore_url in "
            f"{config_file()} name, and restore both from the newest backup; devices send again what it lacks"
        )
    return (
        f"a database cannot be used: {str(error.orig).strip().rstrip('.?')}. Look at database_url and keystore_url in "
        f"{config_file()}, and at the room on their disks; what was acknowledged is safe"
    )


def fail(error: Exception | str) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2)
