"""Who was shown which version of the rules, put it off, agreed to it: a line for each person and version (T-19).

It stands beside the events for as long as the notice says that those are kept (``store/expiry.py`` forgets both).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.detection.source import Item
from schoolkeeper_collector.store.tables import agreements_seen as seen
from schoolkeeper_proto import model

_BODIES = (model.AcceptableUseShown, model.AcceptableUseAccepted, model.AcceptableUseDeferred)
AGREEMENTS: Final = frozenset(body.KIND for body in _BODIES)
_MOST = 64
"""Characters of a name or version; a device says no longer ones."""


def note_agreement(connection: Connection, school_id: str, item: Item) -> None:
    """Takes the event into the table; in whatever order events come, the same line stands at the end."""
    event = item.event
    if event is None or not isinstance(event.body, _BODIES) or not event.user.pseudonym:
        return
    body = event.body
    key = {
        "school_id": school_id,
        "pseudonym": event.user.pseudonym,
        "document": body.document[:_MOST],
        "version": body.document_version[:_MOST],
    }
    where = [seen.c[name] == value for name, value in key.items()]
    held = connection.execute(select(seen).where(*where)).mappings().first()
    row: dict[str, Any] = dict(held) if held is not None else {**_EMPTY, **key, "last_ms": item.at_ms}
    row |= {"shared": event.user.kind is model.UserKind.SHARED, "last_ms": max(row["last_ms"], item.at_ms)}
    row |= _said(row, body, item.at_ms)
    if held is None:
        connection.execute(insert(seen).values(row))
    else:
        connection.execute(update(seen).where(*where).values(row))


_EMPTY: dict[str, Any] = {
    "shared": False, "band": "", "shown_ms": None, "put_off": 0, "often": False, "put_off_ms": None,
    "agreed_ms": None, "agreed_by": "", "last_ms": 0,
}  # fmt: skip


def _said(row: dict[str, Any], body: model.Body, at_ms: int) -> dict[str, Any]:
    match body:
        case model.AcceptableUseShown(age_band=band):
            return {"band": band[:16], "shown_ms": max(row["shown_ms"] or 0, at_ms)}
        case model.AcceptableUseDeferred(times=times, allowed=allowed, age_band=band):
            often = row["often"] or times > allowed
            return {
                "band": band[:16], "put_off": row["put_off"] + 1, "often": often,
                "put_off_ms": max(row["put_off_ms"] or 0, at_ms),
            }  # fmt: skip
        case model.AcceptableUseAccepted(accepted_by=by, age_band=band) if at_ms >= (row["agreed_ms"] or 0):
            return {"band": band[:16] or row["band"], "agreed_ms": at_ms, "agreed_by": by[:16]}
        case _:
            return {}
