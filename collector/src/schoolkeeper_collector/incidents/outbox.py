"""Who is told about an item, once per account and item. Sending is ``notices.py``'s."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.incidents.model import Audience, ObjectType
from schoolkeeper_collector.incidents.routing import own_pseudonyms
from schoolkeeper_collector.store.tables import accounts, notices

EMAIL: Final = "email"


def queue_notices(
    connection: Connection,
    school_id: str,
    audience: Audience,
    object_type: ObjectType,
    object_id: bytes,
    *,
    subject_pseudonym: bytes | None,
    now_ms: int,
    from_ms: int | None = None,
) -> int:
    """Queues an e-mail to every active account of the audience but the subject's own; returns to how many.

    It is sent from ``from_ms`` on, else at once.

    Safe to repeat: an account is told once of an item.
    """
    query = select(accounts.c.account_id).where(
        accounts.c.school_id == school_id,
        accounts.c.role == audience.value,
        accounts.c.disabled_ms.is_(None),
        accounts.c.email != "",
    )
    told = 0
    for row in connection.execute(query).all():
        if subject_pseudonym is not None and subject_pseudonym in own_pseudonyms(
            connection, school_id, row.account_id
        ):
            continue
        told += 1
        key = {
            "school_id": school_id,
            "account_id": row.account_id,
            "channel": EMAIL,
            "object_type": object_type.value,
            "object_id": object_id,
        }
        conditions = [notices.c[name] == value for name, value in key.items()]
        if connection.execute(select(notices.c.notice_no).where(*conditions)).first() is None:
            connection.execute(
                insert(notices).values(**key, created_ms=now_ms, next_attempt_ms=from_ms or now_ms)
            )
    return told
