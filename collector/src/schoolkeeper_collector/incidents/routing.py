"""Whom an item waits for.

Items about staff wait for the head and not for the DSL (the school's policies leave no choice there); one about the
only head waits for the chair of governors, as soon as there is such an account (until then ``unread.py`` says so). A
report goes to whom the person chose and to nobody instead: one to the chair waits for a chair, however long. A shared
account is never one child: its item is about the device. A person who is not in the register may be a child, so the DSL
gets the item and is told that the register does not know the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from schoolkeeper_collector.incidents.model import Audience, SubjectKind
from schoolkeeper_collector.store.tables import accounts, people
from schoolkeeper_policies.detection.meta import RuleAudience, RuleMeta
from schoolkeeper_proto import model

_TO_DSL: Final = frozenset({"dsl", "deputy-dsl", "trusted-adult", ""})
"""Anyone else whom a person chose, such as the chair of governors, was chosen because it is not the DSL."""
_TO_CHAIR: Final = frozenset({"chair", "chair-of-governors"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    audience: Audience
    subject_kind: SubjectKind


def route(
    connection: Connection,
    school_id: str,
    meta: RuleMeta,
    subject: str,
    user: model.UserRef | None,
    body: model.Body | None,
) -> Route:
    """Audience and kind of subject of a new alert."""
    kind = subject_kind(connection, school_id, subject, user)
    if meta.audience is RuleAudience.TECHNICIAN:
        return Route(audience=Audience.TECHNICIAN, subject_kind=kind)
    if isinstance(body, model.PersonReport):
        return Route(audience=_chosen(body.recipient.lower()), subject_kind=kind)
    return Route(audience=audience_of(connection, school_id, kind, subject), subject_kind=kind)


def audience_of(connection: Connection, school_id: str, kind: SubjectKind, subject: str) -> Audience:
    """Who a safeguarding item about such a subject waits for. ``subject``: its key, for example "user:<hex>"."""
    if kind is not SubjectKind.STAFF:
        return Audience.DSL
    if _may_read(connection, school_id, Audience.HEAD, subject):
        return Audience.HEAD
    return Audience.CHAIR if _may_read(connection, school_id, Audience.CHAIR, subject) else Audience.HEAD


def readers(connection: Connection, school_id: str, audience: Audience) -> list[str]:
    """The accounts in use of the role that items of this audience wait for."""
    query = select(accounts.c.account_id).where(
        accounts.c.school_id == school_id,
        accounts.c.role == audience.value,
        accounts.c.disabled_ms.is_(None),
    )
    return [str(row.account_id) for row in connection.execute(query)]


def _may_read(connection: Connection, school_id: str, audience: Audience, subject: str) -> bool:
    """Whether the role has an account whose person the item is not about."""
    return any(
        subject not in {f"user:{own.hex()}" for own in own_pseudonyms(connection, school_id, account_id)}
        for account_id in readers(connection, school_id, audience)
    )


def _chosen(recipient: str) -> Audience:
    if recipient in _TO_DSL:
        return Audience.DSL
    return Audience.CHAIR if recipient in _TO_CHAIR else Audience.HEAD


def subject_kind(
    connection: Connection, school_id: str, subject: str, user: model.UserRef | None
) -> SubjectKind:
    """What the subject's key stands for, by the register."""
    scheme, _, name = subject.partition(":")
    if scheme == "user":
        return person_kind(connection, school_id, bytes.fromhex(name))
    if user is not None and user.kind is model.UserKind.SHARED:
        return SubjectKind.SHARED
    if scheme == "report" and user is not None and user.pseudonym:
        return person_kind(connection, school_id, user.pseudonym)
    if scheme == "device":
        return SubjectKind.DEVICE
    return SubjectKind.SCHOOL if scheme == "school" else SubjectKind.UNKNOWN_PERSON


def person_kind(connection: Connection, school_id: str, pseudonym: bytes) -> SubjectKind:
    found = connection.execute(
        select(people.c.kind).where(people.c.school_id == school_id, people.c.pseudonym == pseudonym)
    ).scalar()
    return SubjectKind(found) if found in set(SubjectKind) else SubjectKind.UNKNOWN_PERSON


def own_pseudonyms(connection: Connection, school_id: str, account_id: str) -> frozenset[bytes]:
    """Under which pseudonyms the person behind a console account appears: nobody sees an item about themselves."""
    query = select(people.c.pseudonym).where(
        people.c.school_id == school_id, people.c.account_id == account_id
    )
    return frozenset(bytes(row.pseudonym) for row in connection.execute(query))
