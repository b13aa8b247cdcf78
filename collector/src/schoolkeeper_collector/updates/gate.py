"""Whether a package does devices good: told by the devices themselves, looked at before each hand-out."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.events import read_events
from schoolkeeper_collector.store.tables import events
from schoolkeeper_collector.updates.packages import Packages
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number

BAD = ("rolled-back", "stuck")
ONE_IN = 10
LOOK_MS = 30_000
_KIND = kind_number(model.AgentUpdate.KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Devices by the last that they said of one package."""

    started: int = 0
    installed: int = 0
    succeeded: int = 0
    refused: int = 0
    bad: int = 0

    @property
    def tried(self) -> int:
        return self.installed + self.succeeded + self.bad

    @property
    def too_bad(self) -> bool:
        """One in ten of those that installed it went back, or could not even do that."""
        return self.bad > 0 and self.bad * ONE_IN >= self.tried


def standing_of(said: Iterable[tuple[int, model.AgentUpdate]], sha256: bytes) -> Standing:
    """``said``: (device, what it said), the oldest first."""
    last: dict[int, str] = {}
    for device, body in said:
        if body.package_sha256 == sha256:
            last[device] = body.state
    states = list(last.values())
    return Standing(
        started=states.count("started"),
        installed=states.count("installed"),
        succeeded=states.count("succeeded"),
        refused=states.count("refused"),
        bad=sum(states.count(state) for state in BAD),
    )


def read_standing(connection: Connection, store: Store, school_id: str, sha256: bytes) -> Standing:
    numbers = connection.execute(
        select(events.c.event_no).where(events.c.school_id == school_id, events.c.kind == _KIND)
    ).scalars()
    found = read_events(connection, store.keystore, school_id, list(numbers))
    said = [(one.device_no, one.event.body) for one in found if isinstance(one.event.body, model.AgentUpdate)]
    return standing_of(said, sha256)


class Gate:
    """Called from many threads; looks at the store at most every half minute."""

    def __init__(self, packages: Packages, store: Store, school_id: str) -> None:
        self._packages = packages
        self._store = store
        self._school_id = school_id
        self._lock = threading.Lock()
        self._looked: dict[bytes, int] = {}

    def look(self, sha256: bytes, now_ms: int) -> None:
        """Halts the package when too many devices went back from it. A person resumes it."""
        with self._lock:
            if now_ms - self._looked.get(sha256, -LOOK_MS) < LOOK_MS or self._packages.halted(sha256):
                return
            self._looked[sha256] = now_ms
            with self._store.read() as connection:
                found = read_standing(connection, self._store, self._school_id, sha256)
            if found.too_bad:
                self._packages.halt(
                    sha256, f"{found.bad} of {found.tried} devices that installed it went back to the former"
                )
