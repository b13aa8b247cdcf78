"""From an account to the groups that rules name, out of the bundle's section ``people``. Pure.

Rules name groups of the school as ``people:<group>`` and one person as ``person:<16 hexadecimal digits>``, so that
neither is mistaken for a group of the operating system. ``KNOWN`` is among the groups of an account that the register
holds; without it nothing is told about the account's groups in the school, and ``conditions.holds`` says so.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left

from schoolkeeper_proto.conditions import KNOWN as KNOWN
from schoolkeeper_proto.policy import PeopleSection

PREFIX = "people:"
PERSON = "person:"
MEMBER_BYTES = 8
_REMEMBERED = 256


class PeopleMistake(ValueError):
    """A section that cannot be used; the message says why."""


def account_pseudonym(key: bytes, account: str) -> bytes:
    """32 bytes; the agent writes the first 16 into events, the section ``people`` holds the first 8."""
    return hmac.new(key, account.encode(), hashlib.sha256).digest()


def person_group(pseudonym: bytes) -> str:
    """The group of one person alone."""
    return f"{PERSON}{pseudonym[:MEMBER_BYTES].hex()}"


class PeopleTable:
    """The section, ready for questions; without one every account is unknown. A look-up is a binary search per set."""

    __slots__ = ("_asked", "_key", "_sets", "_width")

    def __init__(self, section: PeopleSection | None, pseudonym_key: bytes) -> None:
        """Raises ``PeopleMistake``."""
        self._key = pseudonym_key
        self._asked: dict[str, frozenset[str]] = {}
        self._width = section.member_bytes if section is not None else MEMBER_BYTES
        self._sets: list[tuple[frozenset[str], bytes]] = []
        for number, held in enumerate(section.sets if section is not None else ()):
            if not 4 <= self._width <= 32 or len(held.members) % self._width:
                raise PeopleMistake(
                    f"section 'people', set {number}: its members are not {self._width} bytes each"
                )
            names = frozenset({KNOWN, *(PREFIX + group for group in held.groups)})
            self._sets.append((names, held.members))

    def groups_of(self, account: str) -> frozenset[str]:
        """What to add to the groups of the operating system; only the person's own where the register has no such."""
        if not account or not self._key:
            return frozenset()
        known = self._asked.get(account)
        if known is None:
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            known = self._asked[account] = self._look_up(account)
        return known

    def groups_of_pseudonym(self, pseudonym: bytes) -> frozenset[str]:
        """The same for somebody known by the pseudonym that events carry; nothing for an empty one."""
        return self._groups(pseudonym) if len(pseudonym) >= self._width else frozenset()

    def _look_up(self, account: str) -> frozenset[str]:
        return self._groups(account_pseudonym(self._key, account))

    def _groups(self, pseudonym: bytes) -> frozenset[str]:
        own = frozenset({person_group(pseudonym)})
        wanted = pseudonym[: self._width]
        for names, members in self._sets:
            if self._among(wanted, members):
                return names | own
        return own

    def _among(self, wanted: bytes, members: bytes) -> bool:
        width = self._width
        place = bisect_left(range(0, len(members), width), wanted, key=lambda at: members[at : at + width])
        return members[place * width : (place + 1) * width] == wanted
