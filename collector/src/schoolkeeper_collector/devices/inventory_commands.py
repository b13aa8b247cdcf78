"""``inventory import/list/forget``: what a device management or directory tells of devices without our agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import select

from schoolkeeper_collector.command_line import actor, guarded, now_ms, opened_school, refuse
from schoolkeeper_collector.config import ConfigError, Settings
from schoolkeeper_collector.devices import inventory
from schoolkeeper_collector.devices.inventory_columns import Format, format_of
from schoolkeeper_collector.devices.inventory_importing import (
    Imported,
    forget,
    import_inventory,
    sentences,
)
from schoolkeeper_collector.school.keys import KeysError
from schoolkeeper_collector.store.database import Store, StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.store.tables import schools

T = TypeVar("T")
_FAULTS = (ConfigError, KeysError, SchemaError, StoreUrlError, OSError)
inventory_app = typer.Typer(help="Devices as another system tells of them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the collector's program."""
    app.add_typer(inventory_app, name="inventory")


@inventory_app.command("import")
def inventory_import(
    file: Annotated[Path, typer.Argument(help="The CSV file as the other system exported it.")],
    source: Annotated[
        str, typer.Option("--from", help='Who tells: "Intune", "Jamf", "Google Admin", or another name.')
    ],
    layout: Annotated[
        Format | None, typer.Option("--format", help="Whose columns; found by the name without it.")
    ] = None,
    exported_on: Annotated[
        str, typer.Option(help="The day of the export, YYYY-MM-DD; without it, now.")
    ] = "",
) -> None:
    """Make what a source tells equal to a file; nothing is changed if a line is wrong."""

    def work(settings: Settings, store: Store, school_id: str) -> Imported:
        del settings
        data = file.read_bytes()
        with store.read() as connection:
            zone = ZoneInfo(connection.execute(select(schools.c.time_zone)).scalar_one())
        return import_inventory(
            store,
            school_id,
            data,
            place=file.name,
            source=source,
            kind=layout or format_of(source),
            exported_on=exported_on,
            zone=zone,
            actor=actor(),
            now_ms=now_ms(),
        )

    for sentence in sentences(_guarded(work)):
        typer.echo(sentence)


@inventory_app.command("list")
def inventory_list() -> None:
    """List sources: name, devices, when they told, and how many of their devices are old."""

    def work(settings: Settings, store: Store, school_id: str) -> list[str]:
        with store.read() as connection:
            held = inventory.load_inventory(connection, school_id, now_ms(), settings.inventory_stale_days)
        old = [tale.source for tale in held.tales if tale.stale]
        return [
            f"{one.name:24} {one.devices:6} devices, {old.count(one.name)} of them old; told "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(one.told_ms / 1000))} UTC, imported by {one.imported_by}"
            for one in held.sources
        ]

    for line in _guarded(work) or ["no other system has told of a device"]:
        typer.echo(line)


@inventory_app.command("forget")
def inventory_forget(source: Annotated[str, typer.Argument(help="As it was called at the import.")]) -> None:
    """Forget a source and every device that only it told of."""

    def work(settings: Settings, store: Store, school_id: str) -> bool:
        del settings
        return forget(store, school_id, source, actor=actor(), now_ms=now_ms())

    if not _guarded(work):
        typer.echo(
            f"no source is called {source!r}: schoolkeeper-collector inventory list names them", err=True
        )
        raise typer.Exit(1)
    typer.echo(f"what {source} told is forgotten")


def _guarded(work: Callable[[Settings, Store, str], T]) -> T:
    def with_store() -> T:
        with opened_school() as school:
            return work(school.settings, school.store, school.keys.school_id)

    try:
        return guarded(with_store, _FAULTS)
    except inventory.InventoryError as error:
        refuse(error, error.mistakes)
