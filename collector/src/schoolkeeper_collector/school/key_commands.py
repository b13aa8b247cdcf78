"""``officers``, ``stage-keys`` and ``switch``: who signs and what with, from the command line."""

from __future__ import annotations

import getpass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_collector.config import load_settings
from schoolkeeper_collector.school import key_changes, rotation, staging
from schoolkeeper_collector.school.commands import guarded, now_ms, school
from schoolkeeper_collector.school.repository import Repository, RepositoryError
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode, encode


class Switched(StrEnum):
    LEDGER = rotation.LEDGER
    CA = rotation.CA


def register(app: typer.Typer) -> None:
    app.command("officers")(officers)
    app.command("stage-keys")(stage_keys)
    app.command("switch")(switch)


def officers() -> None:
    """List officers with duty, title and key, and the root, online and working keys in force."""

    def work() -> list[str]:
        repository = Repository(load_settings().state_dir)
        root = trust.read_root(repository.root_chain()[-1])
        statement = decode(policy.KeyStatement, repository.current().key_statement)
        titles = {officer.signing_key: ", ".join(officer.duties) for officer in statement.officers}
        lines = [f"root version {root.version}"]
        for key_id, duty in sorted(root.duties.items(), key=lambda item: item[1].officer):
            raw = root.keys[key_id]
            title = titles.get(raw, "no title")
            lines.append(f"  officer  {duty.officer:20} {duty.duty.value:12} {title:14} {raw.hex()[:16]}")
        for role in ("root", "timestamp"):
            what = "online" if role == "timestamp" else role
            lines += [f"  {what:8} {root.keys[k].hex()[:16]}" for k in root.roles[role].key_ids]
        lines += [f"  ledger   {key.public_key.hex()[:16]}" for key in statement.ledger_keys]
        lines += [f"  ca       {trust.sha256(der).hex()[:16]}" for der in statement.ca_certificates]
        lines += [f"  ingest   {key.key_id.hex()[:16]}" for key in statement.ingest_keys]
        return lines

    for line in guarded(work):
        typer.echo(line)


def stage_keys(
    why: Annotated[str, typer.Option(help="The reason, for the change log: lost, stolen, left, off sick.")],
    add_officer: Annotated[
        list[Path], typer.Option(help="File that the new officer's `keys public` wrote; repeat.")
    ] = [],  # noqa: B006
    remove_officer: Annotated[
        list[str], typer.Option(help="Short name of an officer whose key signs no more; repeat.")
    ] = [],  # noqa: B006
    replace_root_key: Annotated[
        str, typer.Option(help="How the old root key's public key begins; `officers` lists them.")
    ] = "",
    root_key_by: Annotated[Path | None, typer.Option(help="Public part of the new root key.")] = None,
    new_online_key: Annotated[bool, typer.Option("--new-online-key")] = False,
    new_ledger_key: Annotated[
        bool, typer.Option("--new-ledger-key", help="List one more ledger key; then `switch ledger`.")
    ] = False,
    retire_ledger_key: Annotated[bool, typer.Option("--retire-ledger-key")] = False,
    new_ca: Annotated[
        bool, typer.Option("--new-ca", help="List one more authority; then `switch ca`.")
    ] = False,
    retire_ca: Annotated[bool, typer.Option("--retire-ca")] = False,
    new_ingest_key: Annotated[bool, typer.Option("--new-ingest-key")] = False,
) -> None:
    """Prepare a change of people or keys. Officers and the root need two root keys' signatures as well."""
    wish = key_changes.KeyWish(
        leaving=tuple(remove_officer),
        officer_files=tuple(add_officer),
        root_key_gone=replace_root_key,
        root_key_file=root_key_by,
        new_online_key=new_online_key,
        new_ledger_key=new_ledger_key,
        retire_ledger_key=retire_ledger_key,
        new_ca=new_ca,
        retire_ca=retire_ca,
        new_ingest_key=new_ingest_key,
    )

    def work() -> tuple[Path, key_changes.KeyChanges]:
        if wish == key_changes.KeyWish():
            raise RepositoryError("nothing to stage: say what changes, for example --remove-officer NAME")
        settings, keys = school()
        found = key_changes.prepare(settings.state_dir, keys, wish, now_ms())
        held = decode(policy.KeyStatement, Repository(settings.state_dir).current().key_statement)
        folder = staging.stage(
            settings.state_dir,
            keys,
            {trust.KEYS_TARGET: encode(found.statement)} if found.statement != held else {},
            now_ms(),
            new_root=found.root,
            online_key=found.online_key,
            reasons=staging.Reasons(why=why, staged_by=getpass.getuser()),
        )
        return folder, found

    folder, found = guarded(work)
    for line in found.said:
        typer.echo(f"{line}\n")
    if found.root is not None:
        typer.echo(
            "A new root: two root keys of today sign it first, by the same command; a new root key, too.\n"
        )
    typer.echo(f"Staged in {folder}. One technical and one safeguarding officer of the new root run:\n")
    typer.echo(
        f"  schoolkeeper-officer sign {folder} --key THEIR-KEY-FILE\n\nthen: schoolkeeper-collector publish"
    )


def switch(what: Switched) -> None:
    """Take the next ledger key or authority into use, once officers listed it and devices have that."""

    def work() -> None:
        rotation.switch(load_settings().state_dir, what.value)

    guarded(work)
    option = "--retire-ledger-key" if what is Switched.LEDGER else "--retire-ca"
    typer.echo(f"Restart the collector now. When all devices came back: stage-keys {option}")
