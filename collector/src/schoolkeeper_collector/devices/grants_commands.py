"""``grant``: what officers signed, handed to the devices it is for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.devices import grants
from schoolkeeper_collector.school.keys import KeysError, load_keys
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store, StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
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
        settings = load_settings()
        with _opened() as (store, school_id):
            beside = grants.beside(Repository(settings.state_dir), school_id)
            with store.write() as connection:
                said = grants.publish(connection, beside, data, _now_ms())
        return f"{said.kind} {said.grant_id.hex()} is published, until {_date(said.expires_unix_ms)} UTC"

    told = _guarded(work)
    typer.echo(f"{told}; what devices say: schoolkeeper-collector grant show {told.split()[1][:12]}")


@grant_app.command("list")
def grant_list() -> None:
    """List grants: id, kind, state, end, and how many devices applied, ended or refused each."""

    def work() -> list[str]:
        with _opened() as (store, school_id), store.read() as connection:
            found = grants.list_grants(connection, school_id, _now_ms())
        return [
            f"{line.grant_id.hex()}  {line.kind.value:16} {line.state.value:8} until "
            f"{_date(line.statement.expires_unix_ms)}  applied {line.applied}, ended {line.ended}, "
            f"refused {line.refused}"
            for line in found
        ]

    for line in _guarded(work) or ["no grants"]:
        typer.echo(line)


@grant_app.command("show")
def grant_show(grant: Annotated[str, typer.Argument(help="Its id, or how it begins.")]) -> None:
    """Show a grant and what each device said of it."""

    def work() -> list[str]:
        with _opened() as (store, school_id), store.read() as connection:
            line = grants.find_grant(connection, school_id, grant, _now_ms())
            said = grants.devices_of(connection, school_id, line.grant_id)
        about = line.statement
        whom = [*about.groups, *(device_id.hex()[:12] for device_id in about.device_ids)]
        lines = [
            f"{line.grant_id.hex()}  {line.kind.value}  {line.state.value}",
            f"  from {_date(about.not_before_unix_ms)} until {_date(about.expires_unix_ms)} UTC, for {', '.join(whom)}",
            f"  rules: {', '.join(about.rule_ids) or 'all that it may touch, or its own'}",
        ]
        lines += [
            f"  {one.device_id.hex()[:12]}  {one.hostname:24} {one.state:8} {_date(one.at_ms)}  {one.reason}".rstrip()
            for one in said
        ]
        return lines if said else [*lines, "  no device has said anything of it yet"]

    for line in _guarded(work):
        typer.echo(line)


@contextmanager
def _opened() -> Iterator[tuple[Store, str]]:
    settings = load_settings()
    school_id = load_keys(settings.state_dir).school_id
    with closing(open_store(settings.store_url, settings.keys_url)) as store:
        check_schema(store)
        yield store, school_id


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except _FAULTS as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _date(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(unix_ms // 1000))
