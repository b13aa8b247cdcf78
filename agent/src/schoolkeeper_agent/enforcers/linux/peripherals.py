"""Keeps single interfaces of USB devices from every driver and program, by the kernel's own means (T-46).

Documentation/usb/authorization.rst, 'Interface authorization': 0 in an interface's ``authorized`` unbinds its driver
and refuses whoever claims it through usbfs, as MTP programs do. The device's other interfaces, and its charging, go on.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import WithholdInterface
from schoolkeeper_agent.identity import write_private
from schoolkeeper_agent.seams import Ability, Outcome

_NAME = re.compile(r"[0-9]+-[0-9.]+:[0-9]+\.[0-9]+")
_KEPT = "withheld-interfaces"
_log = logging.getLogger(__name__)


class PeripheralEnforcer:
    """Gives back only what it took itself, also after it was killed: another program's refusals stay (usbguard)."""

    name = "peripherals"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._bus = context.sys_root / "bus" / "usb"
        self._withheld: set[str] | None = None

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: nobody else may refuse a telephone or a camera")
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, WithholdInterface):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        if not _NAME.fullmatch(action.kernel_name):
            return self._outcome(action, f"{action.kernel_name!r} is no name of a USB interface")
        switch = self._bus / "devices" / action.kernel_name / "authorized"
        if not switch.exists():
            return self._outcome(action, f"there is no switch {switch}: is it unplugged?")
        try:
            error = self._withhold(switch) if action.withheld else self._give_back(switch)
        except OSError as failed:
            error = f"{action.kernel_name}: {failed}"
        return self._outcome(action, error)

    async def close(self) -> None:
        """Nobody decides any more: everything is given back."""
        for name in sorted(self._names()):
            try:
                self._give_back(self._bus / "devices" / name / "authorized")
            except OSError as error:
                _log.warning("%s could not be given back: %s", name, error)

    def _withhold(self, switch: Path) -> str:
        if _is_off(switch):
            return ""
        # Noted first: what is withheld and not noted would never be given back.
        self._note(self._names() | {switch.parent.name})
        switch.write_text("0")
        return "" if _is_off(switch) else f"{switch} still allows it after 0 was written"

    def _give_back(self, switch: Path) -> str:
        name, names = switch.parent.name, self._names()
        if name not in names:
            return ""  # not ours
        if switch.exists() and _is_off(switch):
            switch.write_text("1")
            if _is_off(switch):
                return f"{switch} still refuses it after 1 was written"
        self._note(names - {name})
        self._probe(name.partition(":")[0])
        return ""

    def _probe(self, device: str) -> None:
        """Drivers look again, and only once all of the device is there: a webcam's driver needs all its interfaces."""
        interfaces = sorted((self._bus / "devices").glob(f"{device}:*"))
        if any(one.name in self._names() and _is_off(one / "authorized") for one in interfaces):
            return
        for interface in interfaces:
            if not (interface / "driver").exists():
                try:
                    (self._bus / "drivers_probe").write_text(interface.name)
                except OSError:
                    continue  # no driver wants it: a telephone's files are read by programs

    def _names(self) -> set[str]:
        if self._withheld is None:
            try:
                self._withheld = set((self._context.state_dir / _KEPT).read_text().split())
            except OSError:
                self._withheld = set()
        return self._withheld

    def _note(self, names: set[str]) -> None:
        file = self._context.state_dir / _KEPT
        if names:
            write_private(file, "".join(f"{name}\n" for name in sorted(names)).encode())
        else:
            file.unlink(missing_ok=True)
        self._withheld = names

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)


def _is_off(switch: Path) -> bool:
    return switch.read_text().strip() == "0"
