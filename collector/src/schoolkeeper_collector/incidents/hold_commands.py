"""``hold``: what may not be deleted, by whose word; ``keeping``: for how long what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from schoolkeeper_collector.command_line import date_of, guarded, now_ms, opened_school
from schoolkeeper_collector.config import ConfigError, Settings, load_settings
from schoolkeeper_collector.devices.fleet import DeviceError, find_device
from schoolkeeper_collector.incidents.holds import Hold, HoldBook, HoldError
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.school.keeping import check_periods, periods_of, told_days
from schoolkeeper_collector.school.keys import KeysError
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.store.database import Store, StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.store.retention import Retention, retention_of
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto.codec import kind_number

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    DeviceError,
    HoldError,
    KeysError,
    LookupError,
    PackInForceError,
    PolicyError,
    SchemaError,
    StoreUrlError,
    OSError,
)
_By = Annotated[str, typer.Option(help="Who decided it: the sign-in name of an account.")]
hold_app = typer.Typer(help="Legal holds: what is not deleted for its age.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Opened:
    settings: Settings
    store: Store
    book: HoldBook
    school_id: str


def register(app: typer.Typer) -> None:
    app.add_typer(hold_app, name="hold")
    app.command()(keeping)


@hold_app.command("add")
def hold_add(
    reason: Annotated[
        str, typer.Option(help="Who needs it and why; no pupil's name. The incident's page shows it.")
    ],
    by: _By,
    incident: Annotated[int | None, typer.Option(help="The incident's number.")] = None,
    device: Annotated[str, typer.Option(help="Id (or its beginning), host name or serial.")] = "",
) -> None:
    """Hold what an incident rests on, or everything that a device reported."""

    def work() -> tuple[Hold, int]:
        if (incident is None) == (not device):
            raise HoldError("name either --incident NUMBER or --device DEVICE")
        with _opened() as opened, opened.store.write() as connection:
            if incident is not None:
                hold = opened.book.on_incident(connection, incident, reason=reason, by=by, now_ms=now_ms())
            else:
                device_id = find_device(connection, opened.school_id, device)
                hold = opened.book.on_device(connection, device_id, reason=reason, by=by, now_ms=now_ms())
            return hold, opened.book.held_events(connection, hold)

    hold, number = guarded(work, _FAULTS)
    typer.echo(f"Hold {hold.number} on {hold.what}: {number} events are there to be held. It is in the log.")


@hold_app.command("list")
def hold_list(
    released: Annotated[bool, typer.Option("--all", help="Released ones, too.")] = False,
) -> None:
    """List holds: number, on what, since when, by whom and why."""

    def work() -> list[str]:
        with _opened() as opened, opened.store.read() as connection:
            return [
                _line(hold, opened.book.held_events(connection, hold))
                for hold in opened.book.listed(connection, released=released)
            ]

    for line in guarded(work, _FAULTS) or ["no holds"]:
        typer.echo(line)


@hold_app.command("release")
def hold_release(
    number: Annotated[int, typer.Argument(help="The hold's number, see `hold list`.")],
    reason: Annotated[str, typer.Option(help="Why it is no longer needed.")],
    by: _By,
) -> None:
    """End a hold: what nothing else holds and is old enough goes with the next run of expiry, within the hour."""

    def work() -> Hold:
        with _opened() as opened, opened.store.write() as connection:
            return opened.book.release(connection, number, reason=reason, by=by, now_ms=now_ms())

    hold = guarded(work, _FAULTS)
    typer.echo(f"Hold {hold.number} on {hold.what} is released. It is in the log.")


def keeping() -> None:
    """Show for how long each kind of event is kept, and what people are told."""

    def work() -> list[str]:
        settings = load_settings()
        told = told_days(pack_in_force(settings.state_dir))
        check_periods(settings, told)
        periods = periods_of(settings, told)
        lines = []
        for retention in Retention:
            kinds = sorted(kind for kind in told if retention_of(kind_number(kind)) is retention)
            lines.append(f"{retention.value}: {periods.by_class[retention]} days, unless said otherwise here")
            lines += [
                f"  {kind:28} {periods.days_of(kind_number(kind)):6} days; people are told {told[kind]}"
                for kind in kinds
            ]
        lines.append(f"what an incident rests on: {periods.incident_days} days after it is closed")
        return lines

    for line in guarded(work, _FAULTS):
        typer.echo(line)


def _line(hold: Hold, number: int) -> str:
    since = f"since {date_of(hold.placed_ms)} by {hold.placed_by}: {hold.reason}"
    text = f"{hold.number:4}  {hold.what}  {number} events  {since}"
    if hold.released_ms is not None:
        text += f"  RELEASED {date_of(hold.released_ms)} by {hold.released_by}: {hold.released_because}"
    return text


@contextmanager
def _opened() -> Iterator[_Opened]:
    with opened_school() as school:
        school_id = school.keys.school_id
        book = HoldBook(school_id, CaseLog(school_id, school.store.keystore))
        yield _Opened(school.settings, school.store, book, school_id)
