"""An emergency block is one officer's word: the other officers hear of it at once, and see it while it lasts.

The e-mail is queued in the transaction that publishes the grant and says nothing but where to look; the console shows
the block on every front page until it ends or is revoked.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.incidents.notices import GRANT
from schoolkeeper_collector.incidents.outbox import EMAIL
from schoolkeeper_collector.store.tables import accounts, grants, notices
from schoolkeeper_proto import granting, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import GrantKind

_TOLD = ("dsl", "head", "technician")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBlock:
    """One emergency block that holds now. ``whom``: groups, and how many single devices."""

    grant_id: bytes
    groups: tuple[str, ...]
    devices: int
    blocked: tuple[str, ...]
    why: str
    until_ms: int


def announce(connection: Connection, school_id: str, statement: wire.GrantStatement, now_ms: int) -> int:
    """Queues an e-mail about an emergency block to each officer's account; returns to how many. Other kinds: none."""
    if statement.kind is not GrantKind.EMERGENCY_BLOCK:
        return 0
    query = select(accounts.c.account_id).where(
        accounts.c.school_id == school_id,
        accounts.c.role.in_(_TOLD),
        accounts.c.disabled_ms.is_(None),
        accounts.c.email != "",
    )
    rows = [
        {
            "school_id": school_id,
            "account_id": row.account_id,
            "channel": EMAIL,
            "object_type": GRANT,
            "object_id": statement.grant_id,
            "created_ms": now_ms,
            "next_attempt_ms": now_ms,
        }
        for row in connection.execute(query)
    ]
    if rows:
        connection.execute(insert(notices), rows)
    return len(rows)


def live_blocks(connection: Connection, school_id: str, now_ms: int) -> tuple[LiveBlock, ...]:
    """Emergency blocks that have not ended and were not revoked, the newest first."""
    wanted = (GrantKind.EMERGENCY_BLOCK.value, GrantKind.REVOKE.value)
    rows = connection.execute(
        select(grants.c.grant_bytes)
        .where(grants.c.school_id == school_id, grants.c.expires_ms > now_ms, grants.c.kind.in_(wanted))
        .order_by(grants.c.created_ms.desc())
    )
    said = [decode(wire.GrantStatement, decode(wire.Grant, bytes(row.grant_bytes)).statement) for row in rows]
    ended = {
        grant_id
        for one in said
        if one.kind is GrantKind.REVOKE
        for grant_id in granting.payload_of(one).grant_ids
    }
    return tuple(
        _block(one) for one in said if one.kind is GrantKind.EMERGENCY_BLOCK and one.grant_id not in ended
    )


def _block(statement: wire.GrantStatement) -> LiveBlock:
    payload = granting.payload_of(statement)
    programs = payload.applications.rules if payload.applications else ()
    sites = payload.browser.rules if payload.browser else ()
    texts = [*(rule.text for rule in programs), *(rule.text for rule in sites)]
    return LiveBlock(
        grant_id=statement.grant_id,
        groups=statement.groups,
        devices=len(statement.device_ids),
        blocked=(
            *(match.text for rule in programs for match in rule.matches),
            *(site for rule in sites for site in rule.sites),
        ),
        why="; ".join(dict.fromkeys(text.why for text in texts if text.why)),
        until_ms=statement.expires_unix_ms,
    )
