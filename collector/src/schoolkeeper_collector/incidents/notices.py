"""The outbox: sends what waits, again with growing pauses when it fails, and says when nobody can be reached.

A message is sent outside any transaction and marked afterwards: a crash in between sends it once more, with the same
Message-ID. One account is told once of one item.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from sqlalchemy import Connection, select, update

from schoolkeeper_collector.detection.silence import write_fact
from schoolkeeper_collector.incidents.mail import Mailer, MailError, notice_message
from schoolkeeper_collector.incidents.model import Audience, ObjectType
from schoolkeeper_collector.incidents.outbox import EMAIL
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import accounts, incidents, notices

_AT_ONCE: Final = 20
_FIRST_PAUSE_MS: Final = 30_000
_LONGEST_PAUSE_MS: Final = 3_600_000
TELL_AFTER: Final = 5
"""So many failures of one notice are told to the technician."""
GRANT: Final = "grant"
"""Object type of a notice that is about an emergency block, and no case."""
GIVE_UP_MS: Final = 14 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    notice_no: int
    object_type: str
    object_id: bytes
    attempts: int
    created_ms: int
    to: str
    audience: str
    active: bool


class Outbox:
    """Sends one school's notices. ``console_url`` is what people open, without a slash at the end."""

    def __init__(
        self, store: Store, school_id: str, mailer: Mailer, *, sender: str, console_url: str
    ) -> None:
        self._store = store
        self._school_id = school_id
        self._mailer = mailer
        self._sender = sender
        self._console_url = console_url.rstrip("/")

    def step(self, now_ms: int) -> int:
        """Tries what is due, the oldest first; returns how many were sent."""
        with self._store.read() as connection:
            due = [(notice, self._link(connection, notice)) for notice in self._due(connection, now_ms)]
        return sum(self._send(notice, link, now_ms) for notice, link in due)

    def run(self, stop: threading.Event, clock_ms: Callable[[], int], every_seconds: float = 2.0) -> None:
        """Steps until ``stop``; for a thread of its own."""
        while not stop.wait(every_seconds):
            self.step(clock_ms())

    def _due(self, connection: Connection, now_ms: int) -> list[_Due]:
        query = (
            select(notices, accounts.c.email, accounts.c.role, accounts.c.disabled_ms)
            .join(accounts, accounts.c.account_id == notices.c.account_id)
            .where(
                notices.c.school_id == self._school_id,
                notices.c.channel == EMAIL,
                notices.c.sent_ms.is_(None),
                notices.c.next_attempt_ms <= now_ms,
                notices.c.created_ms > now_ms - GIVE_UP_MS,
            )
            .order_by(notices.c.next_attempt_ms, notices.c.notice_no)
            .limit(_AT_ONCE)
        )
        return [
            _Due(
                notice_no=row.notice_no,
                object_type=row.object_type,
                object_id=bytes(row.object_id),
                attempts=row.attempts,
                created_ms=row.created_ms,
                to=row.email,
                audience=row.role,
                active=row.disabled_ms is None and bool(row.email),
            )
            for row in connection.execute(query)
        ]

    def _link(self, connection: Connection, notice: _Due) -> str:
        """The item's page; a technician's incident is shown on the page of its alert."""
        kind, item = notice.object_type, notice.object_id
        if kind == GRANT:
            return f"{self._console_url}/changes"
        if kind == ObjectType.INCIDENT and notice.audience == Audience.TECHNICIAN.value:
            where = (incidents.c.school_id == self._school_id, incidents.c.incident_id == item)
            alert_id = connection.execute(select(incidents.c.alert_id).where(*where)).scalar()
            if alert_id is not None:
                kind, item = ObjectType.ALERT, bytes(alert_id)
        return f"{self._console_url}/{kind}s/{item.hex()}"

    def _send(self, notice: _Due, link: str, now_ms: int) -> bool:
        if not notice.active:
            self._failed(notice, "the account is disabled or has no address", now_ms, for_good=True)
            return False
        try:
            self._mailer.send(self._message(notice, link, now_ms))
        except MailError as error:
            self._failed(notice, str(error), now_ms, for_good=error.for_good)
            return False
        with self._store.write() as connection:
            self._update(connection, notice, sent_ms=now_ms, attempts=notice.attempts + 1, last_error="")
        return True

    def _message(self, notice: _Due, link: str, now_ms: int) -> EmailMessage:
        try:
            return notice_message(
                sender=self._sender,
                to=notice.to,
                link=link,
                school_id=self._school_id,
                identity=str(notice.notice_no),
                now_ms=now_ms,
            )
        except ValueError as error:
            raise MailError(f"the account's address cannot be written to: {error}", for_good=True) from error

    def _failed(self, notice: _Due, said: str, now_ms: int, *, for_good: bool) -> None:
        attempts = notice.attempts + 1
        pause = min(_FIRST_PAUSE_MS * 2 ** min(notice.attempts, 20), _LONGEST_PAUSE_MS)
        if for_good:
            pause = 86_400_000  # an address may be mended tomorrow
        with self._store.write() as connection:
            self._update(
                connection, notice, attempts=attempts, next_attempt_ms=now_ms + pause, last_error=said[:500]
            )
            if attempts == TELL_AFTER or (for_good and attempts == 1):
                fields: dict[str, object] = {"attempts": attempts, "because": said[:200]}
                write_fact(connection, self._school_id, None, "notice.failing", fields, now_ms)

    @staticmethod
    def _update(connection: Connection, notice: _Due, **values: object) -> None:
        connection.execute(update(notices).where(notices.c.notice_no == notice.notice_no).values(**values))
