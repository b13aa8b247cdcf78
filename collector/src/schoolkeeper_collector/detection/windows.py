"""Windows of correlations in the database: one row per rule and group, read when wanted, written when changed."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from schoolkeeper_collector.store.tables import detection_cursors
from schoolkeeper_policies.detection.ruleset import Correlator
from schoolkeeper_policies.sigma.correlate import Window

PREFIX: Final = "w:"
KEEP_MS: Final = 31 * 86_400_000
"""A window that took nothing in for longer than raw events are kept is forgotten."""


class Windows:
    """The windows that one step touches."""

    def __init__(self, connection: Connection, school_id: str) -> None:
        self._connection = connection
        self._school_id = school_id
        self._held: dict[str, tuple[Window, bytes | None]] = {}

    def window(self, correlator: Correlator, group: tuple[str, ...]) -> Window:
        key = _key(correlator, group)
        if key not in self._held:
            state = self._connection.execute(
                select(detection_cursors.c.state).where(
                    detection_cursors.c.school_id == self._school_id, detection_cursors.c.source == key
                )
            ).scalar()
            stored = None if state is None else bytes(state)
            self._held[key] = (Window.load(stored or b""), stored)
        return self._held[key][0]

    def save(self, received_ms: int) -> None:
        """Writes what changed; ``received_ms`` is when the latest item came in."""
        for key, (window, stored) in self._held.items():
            state = window.dump()
            if stored is None:
                row = {"school_id": self._school_id, "source": key, "position": received_ms, "state": state}
                self._connection.execute(insert(detection_cursors).values(row))
            elif state != stored:
                self._connection.execute(
                    update(detection_cursors)
                    .where(
                        detection_cursors.c.school_id == self._school_id, detection_cursors.c.source == key
                    )
                    .values(position=received_ms, state=state)
                )
            self._held[key] = (window, state)


def forget_windows(connection: Connection, school_id: str, now_ms: int) -> None:
    """Removes windows that took nothing in for ``KEEP_MS``."""
    connection.execute(
        delete(detection_cursors).where(
            detection_cursors.c.school_id == school_id,
            detection_cursors.c.source.startswith(PREFIX),
            detection_cursors.c.position < now_ms - KEEP_MS,
        )
    )


def _key(correlator: Correlator, group: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in (correlator.rule.rule_id, correlator.rule.version, *group):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return PREFIX + digest.hexdigest()[:30]
