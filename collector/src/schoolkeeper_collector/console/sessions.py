"""Sessions: an opaque cookie, and a row of our own that can be ended at once. Times are Unix milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from schoolkeeper_collector.console.access import Stage
from schoolkeeper_collector.console.accounts import Account, by_id
from schoolkeeper_collector.console.secrets import new_token, token_hash
from schoolkeeper_collector.store.tables import sessions

IDLE_MS = 30 * 60_000
"""Without a page asked for by the person for so long, a session ends."""
ABSOLUTE_MS = 10 * 3_600_000
"""No session outlives a school day."""
HALF_MS = 10 * 60_000
"""Time for the second factor."""
_SEEN_EVERY_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A live session and its account."""

    token: str
    account: Account
    stage: Stage
    last_seen_ms: int


def start(connection: Connection, account: Account, *, pending: bool, address: str, now_ms: int) -> str:
    """Open a session and return its token, the only copy there is; sweep out the ended ones."""
    connection.execute(
        delete(sessions).where(
            or_(sessions.c.expires_ms <= now_ms, sessions.c.last_seen_ms <= now_ms - IDLE_MS)
        )
    )
    token = new_token()
    row = {
        "token_hash": token_hash(token),
        "account_id": account.account_id,
        "created_ms": now_ms,
        "last_seen_ms": now_ms,
        "expires_ms": now_ms + (HALF_MS if pending else ABSOLUTE_MS),
        "pending": pending,
        "address": address,
    }
    connection.execute(insert(sessions).values(row))
    return token


def look_up(connection: Connection, token: str, now_ms: int) -> Session | None:
    """Return the session behind a token, unless it ended, stood idle, or its account is closed."""
    query = select(sessions).where(sessions.c.token_hash == token_hash(token))
    row = connection.execute(query).one_or_none() if token else None
    if row is None or row.expires_ms <= now_ms or row.last_seen_ms <= now_ms - IDLE_MS:
        return None
    account = by_id(connection, row.account_id)
    if account is None or account.disabled_ms is not None:
        return None
    return Session(
        token=token, account=account, stage=_stage(row.pending, account), last_seen_ms=row.last_seen_ms
    )


def _stage(pending: bool, account: Account) -> Stage:
    if pending:
        return Stage.CODE
    return Stage.PASSWORD if account.must_change_password else Stage.SIGNED_IN


def wants_touch(session: Session, now_ms: int) -> bool:
    """Whether the row is old enough to be written again: once a minute is enough."""
    return now_ms - session.last_seen_ms >= _SEEN_EVERY_MS


def touch(connection: Connection, token: str, now_ms: int) -> None:
    """Note that the person is still there."""
    connection.execute(
        update(sessions).where(sessions.c.token_hash == token_hash(token)).values(last_seen_ms=now_ms)
    )


def end(connection: Connection, token: str) -> None:
    """End one session."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash(token)))
