"""Two machines that speak as one device, told from their streams. Pure; times in Unix milliseconds.

A boot id never comes back once another was seen after it; a stream of an earlier boot that still speaks belongs to a
second machine. A stream of the *same* boot replaces its predecessor, which is most likely half-open: unless they
take turns too often.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_BOOTS = 8
_DEVICES = 20_000
_TURNS = 6
_TURNS_WITHIN_MS = 60_000


@dataclass(slots=True)
class _History:
    """Tuples, since there is one of these for every device."""

    boots: tuple[bytes, ...] = ()
    turns: tuple[int, ...] = ()
    owed: frozenset[bytes] = frozenset()


class CloneWatch:
    """``hello`` and ``spoke_late`` return why it is a clone, empty when it is not."""

    def __init__(self) -> None:
        self._devices: OrderedDict[bytes, _History] = OrderedDict()

    def hello(self, device_id: bytes, boot_id: bytes) -> str:
        """A device greets. A demand that is owed to this boot is returned once."""
        history = self._history(device_id)
        owed = boot_id in history.owed
        history.owed -= {boot_id}
        if boot_id in history.boots and history.boots[-1] != boot_id:
            # The other machine hears of it at its next hello.
            history.owed |= {history.boots[-1]}
            history.boots = (*(boot for boot in history.boots if boot != boot_id), boot_id)
            return "a boot of this device came back after another: two machines speak as one device"
        if boot_id not in history.boots:
            history.boots = (*history.boots, boot_id)[-_BOOTS:]
        return "two machines spoke as this device" if owed else ""

    def spoke_late(self, device_id: bytes, boot_ids: tuple[bytes, ...]) -> str:
        """A stream spoke after one of another boot had greeted: both owe a new epoch."""
        self._history(device_id).owed |= set(boot_ids)
        return "two machines speak as one device at the same time"

    def replaced(self, device_id: bytes, boot_id: bytes, now_ms: int) -> str:
        """A stream took the place of one of the same boot."""
        history = self._history(device_id)
        history.turns = (*history.turns, now_ms)[-_TURNS:]
        if len(history.turns) == _TURNS and now_ms - history.turns[0] < _TURNS_WITHIN_MS:
            history.turns = ()
            history.owed |= {boot_id}
            return "two streams of one boot keep replacing each other: two machines speak as one device"
        return ""

    def _history(self, device_id: bytes) -> _History:
        found = self._devices.get(device_id)
        if found is None:
            found = self._devices[device_id] = _History()
            if len(self._devices) > _DEVICES:
                self._devices.popitem(last=False)
        else:
            self._devices.move_to_end(device_id)
        return found
