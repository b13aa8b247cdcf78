"""Which account was seen on which device, first and last: what the register of people is held against (T-36).

From every event that detection reads, and each sign-in that devices report. Shared accounts are the policy's own, and
the system's accounts are nobody's: neither is noted. Who was not seen for ``KEEP_MS`` is forgotten.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from schoolkeeper_collector.detection.source import Item
from schoolkeeper_collector.store.tables import accounts_seen
from schoolkeeper_proto.model import UserKind

KEEP_MS: Final = 90 * 86_400_000
_FINE_MS: Final = 3_600_000
"""'Last seen' is true to the hour, so that not every event is a write."""


class AccountsSeen:
    """Of one portion of events: each account and device is looked up once an hour of theirs."""

    def __init__(self, connection: Connection, school_id: str) -> None:
        self._connection = connection
        self._school_id = school_id
        self._noted: set[tuple[bytes, int, int]] = set()

    def note(self, item: Item) -> None:
        """Takes the event's account into the table; events without a person are not touched."""
        if item.event is None or item.device is None or item.event.user.kind is not UserKind.PERSON:
            return
        pseudonym, device_no = item.event.user.pseudonym, item.device.device_no
        key = pseudonym, device_no, item.at_ms // _FINE_MS
        if not pseudonym or key in self._noted:
            return
        self._noted.add(key)
        where = (
            accounts_seen.c.school_id == self._school_id,
            accounts_seen.c.pseudonym == pseudonym,
            accounts_seen.c.device_no == device_no,
        )
        held = self._connection.execute(select(accounts_seen).where(*where)).first()
        if held is None:
            row = {"school_id": self._school_id, "pseudonym": pseudonym, "device_no": device_no}
            self._connection.execute(
                insert(accounts_seen).values(**row, first_ms=item.at_ms, last_ms=item.at_ms)
            )
            return
        first, last = min(held.first_ms, item.at_ms), max(held.last_ms, item.at_ms)
        if first < held.first_ms or last >= held.last_ms + _FINE_MS:
            self._connection.execute(update(accounts_seen).where(*where).values(first_ms=first, last_ms=last))


def forget_accounts(connection: Connection, school_id: str, now_ms: int) -> None:
    """Removes who was not seen for ``KEEP_MS``."""
    connection.execute(
        delete(accounts_seen).where(
            accounts_seen.c.school_id == school_id, accounts_seen.c.last_ms < now_ms - KEEP_MS
        )
    )
