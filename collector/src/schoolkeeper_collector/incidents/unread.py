"""Open safeguarding items that nobody may read: no account of the role, or none but that of whom they are about.

Counts and a remedy, and nothing of any item. A technician's items are about devices: the technician's pages show those
troubles in other ways, so that they are not counted here.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.incidents.model import Audience
from schoolkeeper_collector.incidents.routing import own_pseudonyms, readers
from schoolkeeper_collector.store.tables import alerts, incidents

_WAITING = (Audience.DSL, Audience.HEAD, Audience.CHAIR)


def unread(connection: Connection, school_id: str) -> dict[Audience, int]:
    """How many open alerts and incidents nobody may read, by the role that they wait for; roles without any: absent."""
    counts = {audience: _count(connection, school_id, audience) for audience in _WAITING}
    return {audience: count for audience, count in counts.items() if count}


def unread_fault(found: dict[Audience, int]) -> str:
    """For the health endpoint; empty when somebody may read each item."""
    if not found:
        return ""
    count = sum(found.values())
    items = "1 item waits" if count == 1 else f"{count} items wait"
    make = "dsl" if Audience.DSL in found else "chair"
    return (
        f"{items} and nobody may read {'it' if count == 1 else 'them'}: appoint somebody whom it is not about, with "
        f"`schoolkeeper-collector account create LOGIN --role {make}`"
    )


def _count(connection: Connection, school_id: str, audience: Audience) -> int:
    held = [own_pseudonyms(connection, school_id, one) for one in readers(connection, school_id, audience)]
    total = 0
    for table in (alerts, incidents):
        where = [
            table.c.school_id == school_id,
            table.c.audience == audience.value,
            table.c.state == "open",
        ]
        if held:
            # With every reader's own person: nobody is left for an item about such a subject.
            alone = frozenset.intersection(*held)
            if not alone:
                continue
            where.append(table.c.subject.in_([f"user:{pseudonym.hex()}" for pseudonym in sorted(alone)]))
        total += int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())
    return total
