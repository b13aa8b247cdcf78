"""What lies on an officer's desk while the page is open: changes and grants that were opened, and what was signed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_policies.officer import grants, keyfile, memory, signing, staged
from schoolkeeper_policies.officer import school as schools
from schoolkeeper_policies.officer.page.lock import Fields, Lock
from schoolkeeper_policies.officer.review import Review, review
from schoolkeeper_proto import trust
from schoolkeeper_proto.codec import encode

MAX_OPEN = 20


class DeskError(ValueError):
    """Nothing was done; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A change on the desk. ``source``: the folder or file it came from; None for an upload."""

    name: str
    staged: staged.Staged
    review: Review
    source: Path | None = None
    answer: bytes = b""
    """What goes back, once it was signed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGrant:
    """A grant on the desk; ``signed`` once it was signed here, and then its file goes back."""

    name: str
    review: grants.GrantReview
    signed: bool = False


class Desk:
    """One officer, one key file, what was opened. ``lock`` asks for a passphrase or a passkey at each signature."""

    def __init__(self, key: Path) -> None:
        self.key = key
        self.head = keyfile.read_head(key)
        if not self.head.key_id:
            raise keyfile.KeyFileError(
                f"{key} is a key file of an older form: "
                f"`schoolkeeper-officer keys passphrase {key} --to NEW` writes one of today's"
            )
        self.lock = Lock(key)
        self._opened: list[Opened] = []
        self._grants: list[OpenGrant] = []
        self._lock = threading.Lock()

    @property
    def opened(self) -> list[Opened]:
        return list(self._opened)

    def change(self, number: int) -> Opened:
        """Raises ``DeskError``."""
        try:
            return self._opened[number]
        except IndexError as error:
            raise DeskError("there is no such change on the desk: open its file again") from error

    @property
    def grants(self) -> list[OpenGrant]:
        return list(self._grants)

    def grant(self, number: int) -> OpenGrant:
        """Raises ``DeskError``."""
        try:
            return self._grants[number]
        except IndexError as error:
            raise DeskError("there is no such grant on the desk: open its file again") from error

    @property
    def school(self) -> schools.School:
        """What is in force, as the officer's program knows it. Raises ``MemoryFault`` or ``TrustRefused``."""
        return schools.known(self.head)

    def open_any(self, name: str, data: bytes) -> str:
        """Opens a change, a grant or the school's file; returns the page to show."""
        if name.endswith(schools.SUFFIX):
            schools.keep_bytes(self.head, name, data)
            return ""
        if name.endswith(grants.SUFFIX):
            looked = grants.look(data, self.school, _now())
            with self._lock:
                if len(self._grants) >= MAX_OPEN:
                    raise DeskError(f"{MAX_OPEN} grants are open already: end this program and start it anew")
                self._grants.append(OpenGrant(name=name, review=looked))
                return f"grant-{len(self._grants) - 1}"
        return f"change-{self.open_bytes(name, data)}"

    def sign_grant(self, number: int, fields: Fields) -> OpenGrant:
        """Signs a grant once the key opened. Raises ``DeskError``, ``GrantError`` or what the lock refuses."""
        with self._lock:
            keys = self.lock.keys(f"signgrant-{number}", fields)
            found = self.grant(number)
            looked = grants.look(encode(found.review.grant), self.school, _now())
            signed = grants.sign(looked, keys, self.school, _now())
            self._grants[number] = OpenGrant(name=found.name, review=signed, signed=True)
            return self._grants[number]

    def open_path(self, path: Path) -> int:
        found = staged.read_staged(path)
        return self._put(Opened(name=path.name, staged=found, review=self._looked(found), source=path))

    def open_bytes(self, name: str, data: bytes) -> int:
        found = staged.unpack(data, name)
        return self._put(Opened(name=name, staged=found, review=self._looked(found)))

    def sign(self, number: int, fields: Fields) -> Opened:
        """Signs a change once the key opened. Raises ``DeskError`` or what the lock or signing refuses."""
        with self._lock:
            keys = self.lock.keys(f"sign-{number}", fields)
            found = self.change(number)
            # Looked at again: what was shown is what is signed, and the memory may have moved on.
            seen = self._looked(found.staged)
            done = signing.sign_reviewed(found.staged, seen, keys)
            memory.save(memory.home(), keys.public(()).key_id, done.memory)
            if found.source is not None and found.source.is_dir():
                staged.write_signed(found.source, done.staged)
            signed = replace(
                found,
                staged=done.staged,
                review=self._looked(done.staged),
                answer=staged.write_answer(done.answer),
            )
            self._opened[number] = signed
            return signed

    def _looked(self, found: staged.Staged) -> Review:
        held = memory.load(memory.home(), self.head.key_id, self.head.root_sha256)
        return review(found, held, _now())

    def _put(self, opened: Opened) -> int:
        with self._lock:
            same = trust.sha256(opened.staged.targets)
            for number, held in enumerate(self._opened):
                if trust.sha256(held.staged.targets) == same:
                    return number
            if len(self._opened) >= MAX_OPEN:
                raise DeskError(f"{MAX_OPEN} changes are open already: end this program and start it anew")
            self._opened.append(opened)
            return len(self._opened) - 1


def _now() -> int:
    return time.time_ns() // 1_000_000
