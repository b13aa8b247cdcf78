"""Which applications ran on the school's devices, first and last: assessments are held against it (W-55).

From the counts of use that devices report, not from single starts, which people were promised that others read and for
less long. Nobody's name and no device is kept, and no path: an
application is its identity, which an update leaves as it is. What did not run for ``KEEP_MS`` is forgotten.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from schoolkeeper_collector.detection.source import Item
from schoolkeeper_collector.store.tables import applications_seen
from schoolkeeper_proto.model import Application, ApplicationUsage

APPLICATIONS: Final = frozenset({ApplicationUsage.KIND})
KEEP_MS: Final = 366 * 86_400_000
"""As long as the shipped packs keep the counts of use that it is made of."""
MOST: Final = 5_000
"""So many are kept; what comes on top is not noted, and the page says that the list is full."""
LONGEST: Final = 200
"""In characters."""
_FINE_MS: Final = 86_400_000
"""'Last seen' is true to the day, so that not every event is a write."""
_BUNDLED: Final = re.compile(r"/snap/([a-z0-9][a-z0-9-]*)/|/flatpak/app/([A-Za-z0-9_.-]+)/")
_VERSION: Final = re.compile(r"(?<=.)[-_ ]v?[0-9]+(\.[0-9]+)+.*$")


def identity_of(application: Application) -> str:
    """The name that stays over updates: the policy's own, the snap's or Flatpak's, the package's, else the file's.

    Of a file's name what follows from a version number on is left out. Empty if the event names nothing.
    """
    bundled = _BUNDLED.search(application.path)
    file_name = PurePosixPath(application.path).name or application.name
    found = (
        application.identity
        or (bundled and (bundled[1] or bundled[2]))
        or application.package
        or _VERSION.sub("", file_name)
    )
    # A device may say anything; a database that refuses a character must not stop what reads after it.
    return "".join(sign for sign in found if sign.isprintable())[:LONGEST]


class ApplicationsSeen:
    """Of one portion of events: each application is looked up once a day of theirs."""

    def __init__(self, connection: Connection, school_id: str) -> None:
        self._connection = connection
        self._school_id = school_id
        self._noted: set[tuple[str, int]] = set()

    def note(self, item: Item) -> None:
        """Takes the event's application into the table; other events are not touched."""
        if item.event is None or not isinstance(item.event.body, ApplicationUsage):
            return
        identity = identity_of(item.event.body.application)
        key = identity, item.at_ms // _FINE_MS
        if not identity or key in self._noted:
            return
        self._noted.add(key)
        where = (
            applications_seen.c.school_id == self._school_id,
            applications_seen.c.identity == identity,
        )
        held = self._connection.execute(select(applications_seen).where(*where)).first()
        if held is None:
            self._add(identity, item.at_ms)
            return
        first, last = min(held.first_ms, item.at_ms), max(held.last_ms, item.at_ms)
        if first < held.first_ms or last >= held.last_ms + _FINE_MS:
            changed = update(applications_seen).where(*where).values(first_ms=first, last_ms=last)
            self._connection.execute(changed)

    def _add(self, identity: str, at_ms: int) -> None:
        of_school = applications_seen.c.school_id == self._school_id
        held = self._connection.execute(
            select(func.count()).select_from(applications_seen).where(of_school)
        ).scalar_one()
        if held >= MOST:
            return
        row = {"school_id": self._school_id, "identity": identity, "first_ms": at_ms, "last_ms": at_ms}
        self._connection.execute(insert(applications_seen).values(row))


def forget_applications(connection: Connection, school_id: str, now_ms: int) -> None:
    """Removes what did not run for ``KEEP_MS``."""
    connection.execute(
        delete(applications_seen).where(
            applications_seen.c.school_id == school_id, applications_seen.c.last_ms < now_ms - KEEP_MS
        )
    )
