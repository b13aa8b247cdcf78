"""Limits on sign-in, counted in the database so that a restart forgets nothing.

An attempt is written before it is judged: a thousand at once are a thousand counted. The tight limit on passwords is
per login *and* address, so that a stranger who types wrong passwords does not lock the DSL out from elsewhere; the
wide ones bound a guesser with many addresses. Codes are limited per account: whoever gets there knows the password.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from schoolkeeper_collector.console.secrets import bucket
from schoolkeeper_collector.store.tables import sign_in_attempts

WINDOW_MS = 15 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``most`` failed attempts of one kind and value within WINDOW_MS."""

    kind: str
    value: str
    most: int


class TooManyAttempts(Exception):
    """Wait: ``seconds`` until the oldest failed attempt no longer counts."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many attempts; wait {seconds} seconds")
        self.seconds = seconds


def for_password(login: str, address: str) -> tuple[Limit, ...]:
    """Return the limits on a password; ``login`` as typed, known or not."""
    login = login.strip().lower()[:255]
    return (
        Limit(kind="login at address", value=f"{login}\0{address}", most=10),
        Limit(kind="login", value=login, most=100),
        # A school often shares one address.
        Limit(kind="address", value=address, most=60),
    )


def for_code(account_id: str, address: str) -> tuple[Limit, ...]:
    """Return the limits on a second-factor code."""
    return (
        Limit(kind="code", value=account_id, most=10),
        Limit(kind="address", value=address, most=60),
    )


def begin(
    connection: Connection, limits: tuple[Limit, ...], *, console_key: bytes, now_ms: int
) -> tuple[int, ...]:
    """Count an attempt against every limit; raises TooManyAttempts. Returns the rows to hand to ``passed``."""
    connection.execute(delete(sign_in_attempts).where(sign_in_attempts.c.at_ms <= now_ms - 4 * WINDOW_MS))
    rows = []
    for limit in limits:
        name = bucket(limit.kind, limit.value, console_key)
        _check(connection, name, limit.most, now_ms)
        row = {"bucket": name, "at_ms": now_ms, "succeeded": False}
        made = connection.execute(insert(sign_in_attempts).values(row))
        assert made.inserted_primary_key is not None
        rows.append(int(made.inserted_primary_key[0]))
    return tuple(rows)


def passed(connection: Connection, rows: tuple[int, ...]) -> None:
    """Mark an attempt as right: it no longer counts."""
    connection.execute(
        update(sign_in_attempts).where(sign_in_attempts.c.attempt_no.in_(rows)).values(succeeded=True)
    )


def _check(connection: Connection, name: bytes, most: int, now_ms: int) -> None:
    failed = (
        sign_in_attempts.c.bucket == name,
        sign_in_attempts.c.succeeded.is_(False),
        sign_in_attempts.c.at_ms > now_ms - WINDOW_MS,
    )
    count, oldest = connection.execute(
        select(func.count(), func.min(sign_in_attempts.c.at_ms)).where(*failed)
    ).one()
    if count >= most:
        raise TooManyAttempts(max(1, (oldest + WINDOW_MS - now_ms) // 1000))
