"""How the key file opens for one act: by a passphrase or a passkey, each time anew. Neither is kept.

``fields`` is what a form brought: ``passphrase``, or ``passkey`` with the answer that the page's script put there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from schoolkeeper_policies.officer import key_ways, keyfile, passkey
from schoolkeeper_policies.officer.keyfile import KeyFileError, OfficerKeys
from schoolkeeper_policies.officer.page.challenges import Challenges
from schoolkeeper_policies.officer.passkey import Passkey, PasskeyError
from schoolkeeper_policies.officer.ways import PasskeyWay

MAX_WRONG = 5
ADD, REMOVE, REPLACE = "addpasskey", "removepasskey", "newpassphrase"
"""The acts on the key file itself: names of the forms and purposes of the questions to a passkey."""
Fields = Mapping[str, str]


class LockError(ValueError):
    """Nothing was opened; says why and what to do."""


class Lock:
    """``origin``: of the page that may ask a passkey; set once the server knows its port."""

    def __init__(self, key: Path) -> None:
        self.key = key
        self.origin = ""
        self._challenges = Challenges()
        self._wrong = 0
        self._changing = threading.Lock()

    @property
    def is_protected(self) -> bool:
        return keyfile.is_protected(self.key)

    @property
    def is_locked(self) -> bool:
        return self._wrong >= MAX_WRONG

    @property
    def passkeys(self) -> tuple[PasskeyWay, ...]:
        return key_ways.passkeys(self.key)

    def ask(self, purpose: str) -> bytes:
        """A fresh question to a passkey, for a page that is about to be shown."""
        return self._challenges.ask(purpose)

    def keys(self, purpose: str, fields: Fields) -> OfficerKeys:
        """Raises ``LockError``, ``KeyFileError`` or ``PasskeyError``."""
        with self._counted():
            if fields.get("passkey"):
                way_id, secret = self._answered(purpose, fields)
                return keyfile.opened_by_passkey(self.key, way_id, secret)[0]
            return keyfile.load_keys(self.key, fields.get("passphrase", "") if self.is_protected else None)

    def add(self, fields: Fields) -> str:
        """Adds a passkey, with the passphrase; returns its name. Raises as ``keys`` does."""
        name = passkey.check_name(fields.get("label", ""))
        said = fields.get("passkey", "")
        created, answer = passkey.read_created(said), passkey.read_answer(said)
        challenge = self._challenges.take(passkey.challenge_in(created.client_data), ADD)
        passkey.check_created(created, challenge=challenge, origin=self.origin)
        held = Passkey(
            credential_id=created.credential_id,
            public_key=created.public_key,
            salt=passkey.salt_for(challenge),
            name=name,
        )
        secret = passkey.check_answer(answer, held, challenge=challenge, origin=self.origin)
        with self._changing, self._counted():
            passphrase = fields.get("passphrase", "")
            key_ways.add_passkey(self.key, passphrase, held, secret, today=date.today().isoformat())  # noqa: DTZ011
        return name

    def remove(self, fields: Fields) -> str:
        """Removes a passkey, with the passphrase; returns its name. Raises ``LockError`` or ``KeyFileError``."""
        with self._changing, self._counted():
            return key_ways.remove_passkey(self.key, fields.get("passphrase", ""), fields.get("way", ""))

    def replace_passphrase(self, fields: Fields) -> None:
        """A new passphrase, by a passkey. Raises as ``keys`` does."""
        new = fields.get("new", "")
        keyfile.check_passphrase(new)
        if new != fields.get("again", ""):
            raise LockError("the two passphrases differ: nothing was changed")
        with self._changing, self._counted():
            way_id, secret = self._answered(REPLACE, fields)
            key_ways.replace_passphrase(self.key, way_id, secret, new)

    def _answered(self, purpose: str, fields: Fields) -> tuple[str, bytes]:
        answer = passkey.read_answer(fields.get("passkey", ""))
        challenge = self._challenges.take(passkey.challenge_in(answer.client_data), purpose)
        for way in self.passkeys:
            if way.passkey.credential_id == answer.credential_id:
                secret = passkey.check_answer(answer, way.passkey, challenge=challenge, origin=self.origin)
                return way.passkey.way_id, secret
        raise PasskeyError("this passkey is not one of this key file: use another, or the passphrase")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """One attempt: refused after too many that did not open; forgotten once one does."""
        if self.is_locked:
            raise LockError("too many wrong passphrases or passkeys: end this program and start it anew")
        try:
            yield
        except (KeyFileError, PasskeyError):
            self._wrong += 1
            raise
        self._wrong = 0
