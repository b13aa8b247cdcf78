"""``grant``: what officers signed, handed to the devices it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schoolkeeper_collector.command_line import date_of, guarded, now_ms, opened_school
from schoolkeeper_collector.config import ConfigError
from schoolkeeper_collector.devices import grants
from schoolkeeper_collector.school.keys import KeysError
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_proto.trust import TrustRefused

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    KeysError,
    NotPublished,
    PermissionError,
    RepositoryError,
    SchemaError,
    StoreUrlError,
    TrustRefused,
    grants.GrantError,
)
grant_app = typer.Typer(help="Grants: officer-signed overrides beside the policy.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(grant_app, name="grant")


@grant_app.command("publish")
def grant_publish(
    file: Annotated[Path, typer.Argument(help="A signed grant, as `schoolkeeper-officer grant` writes it.")],
) -> None:
    """Check a signed grant and hand it to its devices: to those that are connected within seconds."""

    def work() -> str:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise grants.GrantError(f"{file} cannot be read: {error.strerror}") from error
        with opened_school() as school:
            beside = grants.beside(Repository(school.settings.state_dir), school.keys.school_id)
            with school.store.write() as connection:
                said = grants.publish(connection, beside, data, now_ms())
        return f"{said.kind} {said.grant_id.hex()} is published, until {date_of(said.expires_unix_ms)} UTC"

    told = guarded(work, _FAULTS)
    typer.echo(f"{told}; what devices say: schoolkeeper-collector grant show {told.split()[1][:12]}")


@grant_app.command("list")
def grant_list() -> None:
    """List grants: id, kind, state, end, and how many devices applied, ended or refused each."""

    def work() -> list[str]:
        with opened_school() as school, school.store.read() as connection:
            found = grants.list_grants(connection, school.keys.school_id, now_ms())
        return [
            f"{line.grant_id.hex()}  {line.kind.value:16} {line.state.value:8} until "
            f"{date_of(line.statement.expires_unix_ms)}  applied {line.applied}, ended {line.ended}, "
            f"refused {line.refused}"
            for line in found
        ]

    for line in guarded(work, _FAULTS) or ["no grants"]:
        typer.echo(line)


@grant_app.command("show")
def grant_show(grant: Annotated[str, typer.Argument(help="Its id, or how it begins.")]) -> None:
    """Show a grant and what each device said of it."""

    def work() -> list[str]:
        with opened_school() as school, school.store.read() as connection:
            line = grants.find_grant(connection, school.keys.school_id, grant, now_ms())
            said = grants.devices_of(connection, school.keys.school_id, line.grant_id)
        about = line.statement
        whom = [*about.groups, *(device_id.hex()[:12] for device_id in about.device_ids)]
        until = date_of(about.expires_unix_ms)
        lines = [
            f"{line.grant_id.hex()}  {line.kind.value}  {line.state.value}",
            f"  from {date_of(about.not_before_unix_ms)} until {until} UTC, for {', '.join(whom)}",
            f"  rules: {', '.join(about.rule_ids) or 'all that it may touch, or its own'}",
        ]
        lines += [
            f"  {one.device_id.hex()[:12]}  {one.hostname:24} {one.state:8} {date_of(one.at_ms)}  {one.reason}".rstrip()
            for one in said
        ]
        return lines if said else [*lines, "  no device has said anything of it yet"]

    for line in guarded(work, _FAULTS):
        typer.echo(line)
