"""What the school's tables speak of and no device can see: the types of incident that people record by hand.

They come from the pack in force. It is read again when another pack takes its place, and not for each page: reading a
whole pack takes a good part of a second.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schoolkeeper_collector.incidents.model import SubjectKind
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_policies.matrices import IncidentType, manual_incident_types
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

FAULTS: Final = (PackInForceError, PolicyError, OSError)
"""Why the pack cannot be read; each says what to do."""
_KINDS: Final = {"staff": SubjectKind.STAFF, "guests": SubjectKind.GUEST, "everybody": SubjectKind.SCHOOL}


class ManualTypes:
    """The types of the pack in force by their id, in the order of the school's tables. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pack: str | Path | None = None
        self._types: Mapping[str, IncidentType] = {}

    def current(self, state_dir: Path | None) -> Mapping[str, IncidentType]:
        """Empty without the collector's files. Raises one of ``FAULTS``."""
        if state_dir is None:
            return {}
        pack = pack_in_force(state_dir)
        with self._lock:
            if pack != self._pack:
                self._types = {one.id: one for one in manual_incident_types(load_pack(pack))}
                self._pack = pack
            return self._types


def kind_of(seen: IncidentType) -> SubjectKind:
    """Whom a line of the school's tables is about, where nobody says more. A key stage is one of pupils."""
    return _KINDS.get(seen.audience, SubjectKind.PUPIL)
