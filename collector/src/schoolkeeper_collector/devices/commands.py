"""``token`` and ``device``: what a technician does to the fleet from the command line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer
from sqlalchemy import select

from schoolkeeper_collector.command_line import actor, date_of, guarded, now_ms, opened_school
from schoolkeeper_collector.config import ConfigError, Settings
from schoolkeeper_collector.devices import fleet, orders, tokens
from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.keys import KeysError, ServiceKeys
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store, StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.store.tables import devices
from schoolkeeper_proto import moves

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    KeysError,
    NotPublished,
    RepositoryError,
    SchemaError,
    StoreUrlError,
    PermissionError,
    fleet.DeviceError,
    tokens.TokenError,
)
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MAX_LIFETIME_DAYS = 90

token_app = typer.Typer(help="Enrolment tokens.", no_args_is_help=True)
device_app = typer.Typer(help="Enrolled devices.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Collector:
    settings: Settings
    keys: ServiceKeys
    repository: Repository
    store: Store

    @property
    def school_id(self) -> str:
        return self.keys.school_id

    def publish_groups(self) -> None:
        with self.store.read() as connection:
            groups = fleet.active_groups(connection, self.school_id)
        before = self.repository.current()
        after = self.repository.publish_groups(groups, self.school_id, self.keys.online, now_ms())
        if after.groups_version != before.groups_version:
            with self.store.write() as connection:
                note_published(connection, self.school_id, before, after, now_ms())


def register(app: typer.Typer) -> None:
    app.add_typer(token_app, name="token")
    app.add_typer(device_app, name="device")


@token_app.command("create")
def token_create(
    group: Annotated[str, typer.Option(help="The group that devices with this token join.")],
    uses: Annotated[int, typer.Option(help="How many devices may use it.")] = 1,
    expires: Annotated[str, typer.Option(help="How long it holds: 30m, 12h, 7d, 2w.")] = "7d",
) -> None:
    """Print a token that pins this school's root and certificate authority. It is shown only once."""

    def work() -> str:
        lifetime = parse_lifetime(expires)
        with _collector() as collector:
            known = collector.repository.groups()
            if group not in known:
                raise RepositoryError(
                    f"the group {group!r} has no signed bundle; groups that have one: {', '.join(known)}. "
                    f"For a new one: `schoolkeeper-collector stage --group {group}`, two signatures, publish"
                )
            with collector.store.write() as connection:
                token = tokens.create_token(
                    connection,
                    school_id=collector.school_id,
                    group=group,
                    uses=uses,
                    lifetime_ms=lifetime,
                    root_sha256=hashlib.sha256(collector.repository.root_chain()[0]).digest(),
                    ca_sha256=hashlib.sha256(certificates.der(collector.keys.ca_certificate)).digest(),
                    created_by=actor(),
                    now_ms=now_ms(),
                )
        return token.text()

    typer.echo(guarded(work, _FAULTS))


@token_app.command("list")
def token_list() -> None:
    """List tokens and how much of each is used."""

    def work() -> list[str]:
        now = now_ms()
        with _collector() as collector, collector.store.read() as connection:
            return [
                f"{t.token_id}  {t.state(now).value:8} {t.uses:4}/{t.uses_allowed:<4} {date_of(t.expires_ms)}  "
                f"{t.group}  by {t.created_by}"
                for t in tokens.list_tokens(connection, collector.school_id)
            ]

    for line in guarded(work, _FAULTS) or ["no tokens"]:
        typer.echo(line)


@token_app.command("revoke")
def token_revoke(token_id: str) -> None:
    """End a token; devices that used it stay."""

    def work() -> None:
        with _collector() as collector, collector.store.write() as connection:
            tokens.revoke_token(
                connection,
                school_id=collector.school_id,
                token_id=token_id,
                actor=actor(),
                now_ms=now_ms(),
            )

    guarded(work, _FAULTS)
    typer.echo(f"Token {token_id} is revoked.")


@device_app.command("list")
def device_list() -> None:
    """List devices: id, status, group, host name, serial, and which others have the same serial."""

    def work() -> list[str]:
        with _collector() as collector, collector.store.read() as connection:
            rows = connection.execute(
                select(devices)
                .where(devices.c.school_id == collector.school_id)
                .order_by(devices.c.device_no)
            ).all()
        lines = []
        for row in rows:
            seen = date_of(row.last_contact_ms) if row.last_contact_ms else "never seen"
            same = f"  same serial as {bytes(row.same_serial_as).hex()}" if row.same_serial_as else ""
            mark = "  SIMULATED" if row.simulated else ""
            lines.append(
                f"{bytes(row.device_id).hex()}  {row.status:8} {row.device_group:16} {row.hostname:24} "
                f"{row.serial:16} {seen}{same}{mark}"
            )
        return lines

    for line in guarded(work, _FAULTS) or ["no devices"]:
        typer.echo(line)


@device_app.command("revoke")
def device_revoke(
    device: Annotated[str, typer.Argument(help="Id (or its beginning), host name or serial.")],
    reason: Annotated[str, typer.Option(help="Goes into the ledger: no personal data.")],
) -> None:
    """End a device: its connections close within seconds and its certificates are refused."""

    def work() -> bytes:
        with _collector() as collector:
            with collector.store.write() as connection:
                device_id = fleet.find_device(connection, collector.school_id, device)
                fleet.revoke(
                    connection,
                    school_id=collector.school_id,
                    device_id=device_id,
                    actor=actor(),
                    reason=reason,
                    now_ms=now_ms(),
                )
            collector.publish_groups()
        return device_id

    typer.echo(f"Device {guarded(work, _FAULTS).hex()} is revoked.")


@device_app.command("join")
def device_join(
    old: Annotated[str, typer.Argument(help="The device as it was enrolled before.")],
    new: Annotated[str, typer.Argument(help="The device it is enrolled as now.")],
) -> None:
    """State that two devices are one machine: the old one ends, its history counts as the new one's."""

    def work() -> tuple[bytes, bytes]:
        with _collector() as collector:
            with collector.store.write() as connection:
                first = fleet.find_device(connection, collector.school_id, old)
                second = fleet.find_device(connection, collector.school_id, new)
                fleet.join(
                    connection,
                    school_id=collector.school_id,
                    old=first,
                    new=second,
                    actor=actor(),
                    now_ms=now_ms(),
                )
            collector.publish_groups()
        return first, second

    first, second = guarded(work, _FAULTS)
    typer.echo(f"Device {first.hex()} is joined into {second.hex()}.")


@device_app.command("move")
def device_move(
    device: Annotated[str, typer.Argument(help="Id (or its beginning), host name or serial.")],
    group: Annotated[str, typer.Argument(help="The group whose rules it is to have.")],
) -> None:
    """Put a device into another group. To weaker safeguarding rules only if officers signed that: the device asks."""

    def work() -> tuple[bytes, str]:
        with _collector() as collector:
            known = collector.repository.groups()
            if group not in known:
                raise RepositoryError(
                    f"the group {group!r} has no signed bundle; groups that have one: {', '.join(known)}"
                )
            with collector.store.write() as connection:
                device_id = fleet.find_device(connection, collector.school_id, device)
                before = fleet.group_of(connection, collector.school_id, device_id)
                listed = collector.repository.moves()
                if not (
                    moves.is_free(listed, before, group)
                    or moves.is_signed(listed, device_id, group, now_ms())
                ):
                    raise fleet.DeviceError(
                        f"not every safeguarding rule of {before!r} holds in {group!r}, so the device would refuse: "
                        f"`schoolkeeper-collector stage --allow-move {device}={group} --why ...`, have two officers "
                        "sign, publish, then move it"
                    )
                fleet.move(
                    connection,
                    school_id=collector.school_id,
                    device_id=device_id,
                    group=group,
                    actor=actor(),
                    now_ms=now_ms(),
                )
            collector.publish_groups()
        return device_id, before

    moved, before = guarded(work, _FAULTS)
    typer.echo(
        f"Device {moved.hex()} is moved from {before} to {group}; it takes the rules when it next asks."
    )


@device_app.command("command")
def device_command(
    device: Annotated[str, typer.Argument(help="Id (or its beginning), host name or serial.")],
    word: Annotated[orders.CommandWord, typer.Argument(help="What it is to do.")],
    expires: Annotated[str, typer.Option(help="Not obeyed after: 30m, 1h, 1d.")] = "1h",
) -> None:
    """Order one device to do something now; the running collector passes it on, `device show` says what came of it."""

    def work() -> bytes:
        lifetime = parse_lifetime(expires)
        with _collector() as collector, collector.store.write() as connection:
            device_id = fleet.find_device(connection, collector.school_id, device)
            orders.command_device(
                connection,
                school_id=collector.school_id,
                device_id=device_id,
                word=word,
                signer=collector.keys.command,
                actor=actor(),
                now_ms=now_ms(),
                lifetime_ms=lifetime,
            )
        return device_id

    told = guarded(work, _FAULTS).hex()
    typer.echo(
        f"{word.value} waits for {told}; what comes of it: schoolkeeper-collector device show {told[:12]}"
    )


@device_app.command("show")
def device_show(
    device: Annotated[str, typer.Argument(help="Id (or its beginning), host name or serial.")],
) -> None:
    """Show a device's latest commands and what it answered."""

    def work() -> list[str]:
        now = now_ms()
        with _collector() as collector, collector.store.read() as connection:
            device_id = fleet.find_device(connection, collector.school_id, device)
            found = orders.commands_of(connection, collector.school_id, device_id, now)
        lines = [
            f"{date_of(line.created_ms)}  {line.word:15} {line.state.value:8} by {line.created_by}  {line.detail}"
            for line in found
        ]
        return [device_id.hex(), *(lines or ["no commands"])]

    for line in guarded(work, _FAULTS):
        typer.echo(line)


def parse_lifetime(text: str) -> int:
    """Milliseconds of ``7d`` and the like; raises ``TokenError``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", text.strip())
    if match is None:
        raise tokens.TokenError(f"--expires {text!r} is not a time like 30m, 12h, 7d or 2w")
    found = int(match[1]) * _UNITS_MS[match[2]]
    if found > MAX_LIFETIME_DAYS * _UNITS_MS["d"]:
        raise tokens.TokenError(f"--expires {text}: it may hold {MAX_LIFETIME_DAYS} days at most")
    return found


@contextmanager
def _collector() -> Iterator[_Collector]:
    with opened_school() as school:
        yield _Collector(school.settings, school.keys, Repository(school.settings.state_dir), school.store)
