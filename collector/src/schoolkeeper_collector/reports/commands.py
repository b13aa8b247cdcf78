"""``snapshot make/list/show/verify``: the technical audit of every device as of one moment."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schoolkeeper_collector.command_line import Opened, actor, date_of, guarded, now_ms, opened_school
from schoolkeeper_collector.config import ConfigError
from schoolkeeper_collector.reports import snapshots
from schoolkeeper_collector.reports.snapshots import Snapshot, SnapshotError, State, Verdict, Verifier
from schoolkeeper_collector.school.files import write_file
from schoolkeeper_collector.school.keys import KeysError
from schoolkeeper_collector.store.database import StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError

T = TypeVar("T")
_FAULTS = (ConfigError, KeysError, SchemaError, SnapshotError, StoreUrlError, OSError)
_WORDS = {
    State.VERIFIED: "verified",
    State.WAITING: "waits",
    State.WRONG: "WRONG",
    State.UNKNOWN: "unknown",
}
_Which = Annotated[str, typer.Argument(help="The beginning of its hash, or: latest.")]
snapshot_app = typer.Typer(help="The technical audit: every device as of one moment.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the collector's program."""
    app.add_typer(snapshot_app, name="snapshot")


@snapshot_app.command("make")
def snapshot_make() -> None:
    """Make a snapshot of all devices as of now; its hash goes into the signed log."""

    def work(school: Opened) -> Snapshot:
        with school.store.write() as connection:
            return snapshots.make_snapshot(
                connection,
                school.keys.school_id,
                now_ms(),
                actor=actor(),
                stale_days=school.settings.inventory_stale_days,
            )

    made = _with_school(work)
    typer.echo(f"made {made.digest.hex()} of {made.devices} devices as of {date_of(made.at_ms)} UTC")
    typer.echo("the running collector signs it into the log: schoolkeeper-collector snapshot verify latest")


@snapshot_app.command("list")
def snapshot_list() -> None:
    """List snapshots, the newest first: hash, moment, devices, who made it."""

    def work(school: Opened) -> tuple[Snapshot, ...]:
        with school.store.read() as connection:
            return snapshots.list_snapshots(connection, school.keys.school_id)

    found = _with_school(work)
    for one in found:
        digest = one.digest.hex()[:16]
        typer.echo(f"{digest}  {date_of(one.at_ms)} UTC  {one.devices:6} devices  by {one.made_by}")
    if not found:
        typer.echo("no snapshot was made yet: schoolkeeper-collector snapshot make")


@snapshot_app.command("show")
def snapshot_show(
    which: _Which = "latest",
    out: Annotated[Path | None, typer.Option(help="Where to write it; standard output otherwise.")] = None,
) -> None:
    """Write the bytes of a snapshot, as they were made."""

    def work(school: Opened) -> bytes:
        with school.store.read() as connection:
            found = snapshots.find_snapshot(connection, school.keys.school_id, which)
            body = snapshots.body_of(connection, school.keys.school_id, found.at_ms)
        if out is not None:
            write_file(out, body)
        return body

    body = _with_school(work)
    if out is None:
        sys.stdout.buffer.write(body)
    else:
        typer.echo(f"wrote {out}")


@snapshot_app.command("verify")
def snapshot_verify(
    which: Annotated[
        str, typer.Argument(help="The beginning of its hash, or latest, or a file; all without it.")
    ] = "",
) -> None:
    """Check snapshots against the signed log. Exit code 1 unless each one verifies."""

    def work(school: Opened) -> list[tuple[Snapshot, Verdict]]:
        school_id = school.keys.school_id
        with school.store.read() as connection:
            verifier = Verifier(connection, school_id, school.keys.ledger_public)
            if which and Path(which).is_file():
                body = Path(which).read_bytes()
                held = _of_file(snapshots.list_snapshots(connection, school_id), body, which)
                return [(held, verifier.check(held, body))]
            if which:
                chosen: tuple[Snapshot, ...] = (snapshots.find_snapshot(connection, school_id, which),)
            else:
                chosen = snapshots.list_snapshots(connection, school_id)
            return [(one, verifier.check(one)) for one in chosen]

    found = _with_school(work)
    for one, verdict in found:
        digest = one.digest.hex()[:16]
        typer.echo(f"{_WORDS[verdict.state]:8}  {digest}  {date_of(one.at_ms)} UTC: {verdict.because}")
    if not found:
        typer.echo("no snapshot was made yet: schoolkeeper-collector snapshot make")
    if any(verdict.state is not State.VERIFIED for _, verdict in found):
        raise typer.Exit(1)


def _of_file(held: tuple[Snapshot, ...], body: bytes, name: str) -> Snapshot:
    digest = hashlib.sha256(body).digest()
    for one in held:
        if one.digest == digest:
            return one
    raise SnapshotError(
        f"{name} is none of this school's snapshots: its hash is {digest.hex()}. It was changed, or made elsewhere; "
        "`schoolkeeper-collector snapshot show HASH --out FILE` writes what is kept"
    )


def _with_school(work: Callable[[Opened], T]) -> T:
    def with_store() -> T:
        with opened_school() as school:
            return work(school)

    return guarded(with_store, _FAULTS)
