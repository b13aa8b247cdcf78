"""From an account of the operating system to a pseudonym: nothing else about a person leaves the device."""

from __future__ import annotations

import hashlib
import hmac

from schoolkeeper_proto.model import UserKind, UserRef
from schoolkeeper_proto.policy import CollectionSection

FIRST_PERSON_UID = 1000
"""Below it lie the system's own accounts (Debian policy 9.2.2)."""
_NOBODY = 65534
PSEUDONYM_BYTES = 16


def user_of(account: str, user_id: int, collection: CollectionSection) -> UserRef:
    """The reference to write down: a shared account is never one child, a system account nobody at all."""
    if not account or user_id < 0:
        return UserRef(kind=UserKind.UNKNOWN)
    if user_id < FIRST_PERSON_UID or user_id == _NOBODY:
        return UserRef(kind=UserKind.NONE)
    if not collection.pseudonym_key:
        return UserRef(kind=UserKind.UNKNOWN)
    digest = hmac.new(collection.pseudonym_key, account.encode(), hashlib.sha256).digest()
    kind = UserKind.SHARED if account in collection.shared_accounts else UserKind.PERSON
    return UserRef(pseudonym=digest[:PSEUDONYM_BYTES], kind=kind)
