"""``schoolkeeper-officer``: an officer's own program. It holds the only copy of the keys that make policy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.officer import (
    grant_cli,
    key_ways,
    keyfile,
    memory,
    reason_cli,
    recovery_cli,
    report_cli,
    signing,
    staged,
    words,
)
from schoolkeeper_policies.officer.asking import guarded, new_passphrase, open_keys, passphrase_of
from schoolkeeper_policies.officer.review import Review, review
from schoolkeeper_policies.version_option import add_version
from schoolkeeper_proto.trust import Duty

app = typer.Typer(help="Keys, signatures and opening for a school's officers.", no_args_is_help=True)
add_version(app, "schoolkeeper-officer", "schoolkeeper-policies")
keys_app = typer.Typer(help="An officer's key file.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(grant_cli.app, name="grant")
app.command("open-reason")(reason_cli.open_reason_)
app.command("open-report")(report_cli.open_report_)
app.command("open-recovery-key")(recovery_cli.open_recovery_key_)
Key = Annotated[Path, typer.Option(help="The officer's key file.")]


@keys_app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="Where the file goes: a stick that stays with the officer.")],
    officer: Annotated[str, typer.Option(help="Short name, for example dsl or j.davies.")],
    duty: Annotated[Duty | None, typer.Option(help="What this person answers for.")] = None,
    root: Annotated[bool, typer.Option("--root", help="A root key: no duty, kept in an envelope.")] = False,
) -> None:
    """Make a key file under a passphrase, and print the public keys to hand in."""
    if (duty is None) is not root:
        raise typer.BadParameter("name --duty technical or --duty safeguarding, or --root for a root key")
    keys = keyfile.new_keys(officer, duty)
    guarded(lambda: keyfile.save_keys(path, keys, new_passphrase()))
    _print(keys)


@keys_app.command("passphrase")
def passphrase(
    path: Path, to: Annotated[Path, typer.Option(help="The new file; then destroy the old.")]
) -> None:
    """Write the same keys under a passphrase of the officer's own."""
    keys = open_keys(path)
    guarded(lambda: keyfile.save_keys(to, keys, new_passphrase()))
    typer.echo(f"{to} holds the same keys under the new passphrase; destroy {path}.")


@keys_app.command("public")
def public(
    path: Annotated[Path, typer.Argument(help="The officer's key file.")],
    out: Annotated[Path, typer.Option(help="Where to write it; it holds nothing secret.")],
    title: Annotated[
        str, typer.Option(help="What this person is: dsl, deputy-dsl, head, technician.")
    ] = "root",
) -> None:
    """Write the public keys to hand in to the collector's technician."""
    keys = open_keys(path)
    guarded(lambda: out.write_bytes(keyfile.write_public(keys, title)))
    typer.echo(
        f"{out}: hand it in; compare the key id over the telephone: {keys.public(()).key_id.hex()[:16]}"
    )


@keys_app.command("ways")
def ways(path: Annotated[Path, typer.Argument(help="The officer's key file.")]) -> None:
    """List what opens a key file. Passkeys are added on the page of `serve`, in a browser."""
    for line in guarded(lambda: key_ways.described(path)):
        typer.echo(line)


@keys_app.command("remove-passkey")
def remove_passkey(
    path: Annotated[Path, typer.Argument(help="The officer's key file.")],
    passkey: Annotated[str, typer.Argument(help="Its id, as `keys ways` shows it.")],
) -> None:
    """Let a passkey open this file no longer. A copy of the file from before still opens with it."""
    name = guarded(lambda: key_ways.remove_passkey(path, passphrase_of(path) or "", passkey))
    typer.echo(f"The passkey {name!r} opens {path} no longer.")


@app.command()
def whoami(key: Key) -> None:
    """Say whose key file this is, and its public keys."""
    _print(open_keys(key))


@app.command()
def pin(
    root_hash: Annotated[str, typer.Argument(help="The root hash on paper, as `init` printed it.")],
    key: Key,
    again: Annotated[bool, typer.Option("--again", help="Forget the school that was pinned before.")] = False,
) -> None:
    """Tell a key which school it belongs to; keys that `init` made know it already."""
    keys = open_keys(key)
    guarded(
        lambda: memory.pin(
            memory.home(), keys.public(()).key_id, memory.parse_root_hash(root_hash), again=again
        )
    )
    typer.echo(f"{keys.officer} is pinned to root {root_hash}.")


@app.command()
def show(
    change: Annotated[Path, typer.Argument(help="A .skchange file or staged folder.")], key: Key
) -> None:
    """Verify a staged change from the pinned root and say what it does, rule by rule. Signs nothing."""
    keys = open_keys(key)
    _, seen = guarded(lambda: _reviewed(change, keys))
    _say(seen)


@app.command()
def sign(
    change: Annotated[Path, typer.Argument(help="A .skchange file, or the folder that `stage` printed.")],
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where the signature goes; beside a .skchange file otherwise.")
    ] = None,
) -> None:
    """Verify a staged change, show what it does, rule by rule, and sign it."""
    keys = open_keys(key)
    found, seen = guarded(lambda: _reviewed(change, keys))
    _say(seen)
    if not yes:
        typer.confirm(f"Sign as {keys.officer} ({keys.duty or 'root of trust'})?", abort=True)

    def work() -> str:
        done = signing.sign_reviewed(found, seen, keys)
        memory.save(memory.home(), keys.public(()).key_id, done.memory)
        if change.is_dir() and out is None:
            staged.write_signed(change, done.staged)
            return f"Signed as {keys.officer}."
        answer = out or change.with_name(f"{change.stem}.{keys.officer}{staged.ANSWER_SUFFIX}")
        answer.write_bytes(staged.write_answer(done.answer))
        hand_in = f"hand in {answer}, in the console or with `schoolkeeper-collector waiting --add`."
        return f"Signed as {keys.officer}: {hand_in}"

    typer.echo(f"{guarded(work)} A policy needs one technical and one safeguarding signature.")


@app.command()
def serve(
    key: Key,
    change: Annotated[list[Path], typer.Argument(help="Changes to open: .skchange files or folders.")] = [],  # noqa: B006
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 0,
    idle_minutes: Annotated[int, typer.Option(min=1, max=120)] = 15,
) -> None:
    """Open a page on this machine alone that shows changes and signs them; Ctrl-C ends it."""
    from schoolkeeper_policies.officer.page.serve import serve as run

    guarded(lambda: run(key, tuple(change), port=port, idle_seconds=idle_minutes * 60, say=typer.echo))


def main() -> None:
    app()


def _reviewed(change: Path, keys: keyfile.OfficerKeys) -> tuple[staged.Staged, Review]:
    found = staged.read_staged(change)
    held = memory.load(memory.home(), keys.public(()).key_id, keys.root_sha256)
    return found, review(found, held, time.time_ns() // 1_000_000)


def _say(seen: Review) -> None:
    for line in words.review_text(seen):
        typer.echo(line)


def _print(keys: keyfile.OfficerKeys) -> None:
    public = keys.public(())
    typer.echo(f"officer     {keys.officer}\nduty        {keys.duty.value if keys.duty else 'root of trust'}")
    typer.echo(f"key id      {public.key_id.hex()}")
    typer.echo(f"signs with  {public.signing_key.hex()}\nopens with  {public.sealing_key.hex()}")
    typer.echo(f"school      {keys.root_sha256.hex() or 'not pinned in the file'}")
