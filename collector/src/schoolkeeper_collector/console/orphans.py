"""The accounts that devices saw against the register of people: who is in one and not in the other (T-36, W-58).

Times are Unix milliseconds. The collector knows an account that is in no register by its pseudonym only; the device on
which it was seen leads a technician to the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.tables import accounts_seen, devices, people


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An account on devices that belongs to nobody, or to somebody who left (``left_ms``, ``name``)."""

    pseudonym: bytes
    hostnames: tuple[str, ...]
    first_ms: int
    last_ms: int
    name: str = ""
    left_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """``strays`` latest first; ``unseen`` are people of the register whose account no device saw, by name."""

    strays: tuple[Stray, ...]
    unseen: tuple[str, ...]
    seen: int
    """So many accounts were seen at all."""
    registered: int
    """So many people are in the register and have not left; 0 where none was imported."""


def load_orphans(connection: Connection, school_id: str) -> Orphans:
    query = (
        select(accounts_seen, devices.c.hostname)
        .join(
            devices,
            (devices.c.school_id == accounts_seen.c.school_id)
            & (devices.c.device_no == accounts_seen.c.device_no),
        )
        .where(accounts_seen.c.school_id == school_id)
        .order_by(devices.c.hostname)
    )
    where: dict[bytes, list[tuple[str, int, int]]] = {}
    for row in connection.execute(query):
        where.setdefault(bytes(row.pseudonym), []).append((row.hostname, row.first_ms, row.last_ms))
    register = {
        bytes(row.pseudonym): row
        for row in connection.execute(select(people).where(people.c.school_id == school_id))
    }
    here = {pseudonym for pseudonym, row in register.items() if row.left_ms is None}
    strays = [
        Stray(
            pseudonym=pseudonym,
            hostnames=tuple(name for name, _, _ in places),
            first_ms=min(first for _, first, _ in places),
            last_ms=max(last for _, _, last in places),
            name=register[pseudonym].account_name if pseudonym in register else "",
            left_ms=register[pseudonym].left_ms if pseudonym in register else None,
        )
        for pseudonym, places in where.items()
        if _stray(pseudonym in here, register[pseudonym].left_ms if pseudonym in register else None, places)
    ]
    return Orphans(
        strays=tuple(sorted(strays, key=lambda one: (-one.last_ms, one.pseudonym))),
        unseen=tuple(sorted(register[pseudonym].account_name for pseudonym in here - set(where))),
        seen=len(where),
        registered=len(here),
    )


def _stray(here: bool, left_ms: int | None, places: list[tuple[str, int, int]]) -> bool:
    """Whoever left and was not seen since is no stray."""
    return not here and (left_ms is None or any(last > left_ms for _, _, last in places))
