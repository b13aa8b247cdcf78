"""``recovery-key``: where the keys of sticks lie that were encrypted on a device (`media.encrypted`, T-44).

Each is sealed to the school's technicians in the event itself: this server finds it and cannot read it. What is written
out is the event's proof, which a technician opens with ``schoolkeeper-officer open-recovery-key``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection, select

from schoolkeeper_collector.command_line import date_of, guarded, opened_school
from schoolkeeper_collector.config import ConfigError
from schoolkeeper_collector.ledger.proofs import NotProvable, event_proof
from schoolkeeper_collector.school.keys import KeysError
from schoolkeeper_collector.store.database import Store, StoreUrlError
from schoolkeeper_collector.store.events import read_events
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.store.tables import devices, events
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number

_KIND = kind_number(model.MediumEncrypted.KIND)


class RecoveryKeyError(Exception):
    """There is no such key; the message names the remedy."""


_FAULTS = (
    ConfigError, KeysError, LookupError, NotProvable, OSError, RecoveryKeyError, SchemaError, StoreUrlError
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowedKey:
    """``sealed_to``: the officers whose keys open it. ``medium``: as the device saw it, no name of a person's."""

    reference: str
    event_no: int
    at_ms: int
    device: str
    medium: str
    sealed_to: tuple[str, ...]


def escrowed(store: Store, connection: Connection, school_id: str) -> list[EscrowedKey]:
    """All that are still kept, the newest first."""
    query = (
        select(events.c.event_no, devices.c.hostname, devices.c.device_id)
        .join(devices, devices.c.device_no == events.c.device_no)
        .where(events.c.school_id == school_id, events.c.kind == _KIND)
    )
    names = {
        row.event_no: row.hostname or bytes(row.device_id).hex()[:12] for row in connection.execute(query)
    }
    found = []
    for stored in read_events(connection, store.keystore, school_id, list(names)):
        body = stored.event.body
        if isinstance(body, model.MediumEncrypted) and body.recovery_key is not None:
            found.append(
                EscrowedKey(
                    reference=body.reference,
                    event_no=stored.event_no,
                    at_ms=stored.event_ms,
                    device=names[stored.event_no],
                    medium=_words(body.medium),
                    sealed_to=tuple(body.recovery_key.recipients),
                )
            )
    return found[::-1]


def _words(medium: model.Medium) -> str:
    number = ":".join(part for part in (medium.vendor_id, medium.product_id) if part)
    return " ".join(part for part in (medium.bus, number, medium.serial) if part) or "a medium"


def register(app: typer.Typer) -> None:
    app.command("recovery-key")(recovery_key)


def recovery_key(
    reference: Annotated[
        str, typer.Argument(help="The key's number, as the owner was told; left out: all.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; recovery-NUMBER.json otherwise.")
    ] = None,
) -> None:
    """Find the sealed recovery key of a stick that was encrypted on a device, for a technician to open."""

    def work() -> Iterator[str]:
        wanted = reference.strip().upper()
        with opened_school() as school, school.store.read() as connection:
            school_id = school.keys.school_id
            kept = escrowed(school.store, connection, school_id)
            if not wanted:
                yield from (_line(one) for one in kept)
                if not kept:
                    yield "no stick was encrypted on a device, or its time is over"
                return
            one = next((one for one in kept if one.reference.upper() == wanted), None)
            if one is None:
                raise RecoveryKeyError(
                    f"there is no recovery key number {reference}: `schoolkeeper-collector recovery-key` lists all; "
                    "one that was made while the device was offline comes with its next contact"
                )
            file = out or Path(f"recovery-{one.reference}.json")
            file.write_text(event_proof(connection, school.store.keystore, school_id, one.event_no).to_json())
            yield f"wrote {file}; one of {', '.join(one.sealed_to)} opens it:"
            yield f"  schoolkeeper-officer open-recovery-key {file} --key KEY_FILE"

    for line in guarded(lambda: list(work()), _FAULTS):
        typer.echo(line)


def _line(one: EscrowedKey) -> str:
    who = ", ".join(one.sealed_to) or "nobody"
    return f"{one.reference}  {date_of(one.at_ms)}  {one.device}  {one.medium}  sealed to {who}"
