"""``schoolkeeper-officer``: an officer's own program. It holds the only copy of the keys that make policy."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schoolkeeper_policies.officer import keyfile, signing
from schoolkeeper_proto.trust import Duty, TrustRefused

T = TypeVar("T")
app = typer.Typer(help="Keys, signatures and opening for a school's officers.", no_args_is_help=True)
keys_app = typer.Typer(help="An officer's key file.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="Where the file goes: a stick that stays with the officer.")],
    officer: Annotated[str, typer.Option(help="Short name, for example dsl or j.davies.")],
    duty: Annotated[Duty, typer.Option(help="What this person answers for.")],
) -> None:
    """Make a key file under a passphrase, and print the public keys to hand in."""
    keys = keyfile.new_keys(officer, duty)
    _guarded(lambda: keyfile.save_keys(path, keys, _new_passphrase()))
    _print(keys)


@keys_app.command("passphrase")
def passphrase(
    path: Path, to: Annotated[Path, typer.Option(help="The new file; then destroy the old.")]
) -> None:
    """Write the same keys under a passphrase of the officer's own."""
    keys = _open(path)
    _guarded(lambda: keyfile.save_keys(to, keys, _new_passphrase()))
    typer.echo(f"{to} holds the same keys under the new passphrase; destroy {path}.")


@keys_app.command("public")
def public(
    path: Annotated[Path, typer.Argument(help="The officer's key file.")],
    out: Annotated[Path, typer.Option(help="Where to write it; it holds nothing secret.")],
    title: Annotated[str, typer.Option(help="What this person is: dsl, deputy-dsl, head, technician.")],
) -> None:
    """Write the public keys to hand in to the collector's technician."""
    keys = _open(path)
    _guarded(lambda: out.write_bytes(keyfile.write_public(keys, title)))
    typer.echo(
        f"{out}: hand it in; compare the key id over the telephone: {keys.public(()).key_id.hex()[:16]}"
    )


@app.command()
def whoami(key: Annotated[Path, typer.Option(help="The officer's key file.")]) -> None:
    """Say whose key file this is, and its public keys."""
    _print(_open(key))


@app.command()
def sign(
    staged: Annotated[Path, typer.Argument(help="The folder that `schoolkeeper-collector stage` printed.")],
    key: Annotated[Path, typer.Option(help="The officer's key file.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
) -> None:
    """Show what a staged policy changes, and sign it."""
    keys = _open(key)

    def work() -> None:
        for change in signing.staged_changes(staged):
            typer.echo(f"  {change.what:8} {change.name}")
        if not yes:
            typer.confirm(f"Sign as {keys.officer} ({keys.duty or 'root of trust'})?", abort=True)
        signing.sign_staged(staged, keys)

    _guarded(work)
    typer.echo(f"Signed as {keys.officer}. A policy needs one technical and one safeguarding signature.")


def main() -> None:
    app()


def _open(path: Path) -> keyfile.OfficerKeys:
    def work() -> keyfile.OfficerKeys:
        secret = getpass.getpass(f"Passphrase of {path}: ") if keyfile.is_protected(path) else None
        return keyfile.load_keys(path, secret)

    return _guarded(work)


def _guarded(work: Callable[[], T]) -> T:
    """Runs it; what an officer can put right ends the program with a message and no trace."""
    try:
        return work()
    except (keyfile.KeyFileError, signing.SigningError, TrustRefused) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from error


def _new_passphrase() -> str:
    first = getpass.getpass("New passphrase (four or more words): ")
    keyfile.check_passphrase(first)
    if getpass.getpass("Once more: ") != first:
        raise keyfile.KeyFileError("the two passphrases differ: nothing was written")
    return first


def _print(keys: keyfile.OfficerKeys) -> None:
    public = keys.public(())
    typer.echo(f"officer     {keys.officer}\nduty        {keys.duty.value if keys.duty else 'root of trust'}")
    typer.echo(f"key id      {public.key_id.hex()}")
    typer.echo(f"signs with  {public.signing_key.hex()}\nopens with  {public.sealing_key.hex()}")
