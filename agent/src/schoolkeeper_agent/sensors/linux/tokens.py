"""Security keys and readers of smart cards that the policy names: seen as they are pulled out and put back.

What is in a reader is not seen, only the reader itself. By the kernel's own device events; a serial number can be read
only while the device is there, so it is read when it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from schoolkeeper_agent.observations import TokenMoved
from schoolkeeper_agent.seams import Emit, SensorError
from schoolkeeper_agent.sensors.linux import uevents
from schoolkeeper_agent.sensors.linux.uevents import DeviceEvent
from schoolkeeper_proto.policy import SecurityToken

_AT_ONCE = 256
_log = logging.getLogger(__name__)


class TokenWatch:
    """Begins at once, within a running loop. Raises ``SensorError`` when the kernel's events cannot be read."""

    def __init__(self, sys_root: Path, tokens: Iterable[SecurityToken], emit: Emit) -> None:
        self._folder = sys_root / "bus/usb/devices"
        self._tokens = tuple(tokens)
        self._emit = emit
        self._held: dict[str, str] = {}
        try:
            self._listener = uevents.open_socket()
        except OSError as error:
            raise SensorError(f"the kernel's device events cannot be read: {error}") from error
        self._held = self._there()
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._drain)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener.close()

    def heard(self, event: DeviceEvent) -> None:
        """One event of the kernel."""
        wanted = {"SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}
        if any(event.properties.get(name) != value for name, value in wanted.items()):
            return
        name = event.device_path.rpartition("/")[2]
        if event.action == "remove":
            self._left(name)
        elif event.action in ("add", "bind") and name not in self._held:
            product = self._product(name)
            if product:
                self._held[name] = product
                self._emit(TokenMoved(product=product, removed=False))

    def _left(self, name: str) -> None:
        product = self._held.pop(name, "")
        if product:
            self._emit(TokenMoved(product=product, removed=True))

    def _drain(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                event = uevents.receive(self._listener)
            except BlockingIOError:
                return
            except OSError as error:  # some were lost: what is there now says which
                _log.warning("device events were lost: %s", error)
                there = self._there()
                for name in [name for name in self._held if name not in there]:
                    self._left(name)
                continue
            if event is not None:
                self.heard(event)

    def _there(self) -> dict[str, str]:
        names = [place.name for place in self._folder.glob("*") if ":" not in place.name]
        return {name: product for name in names if (product := self._product(name))}

    def _product(self, name: str) -> str:
        """Of a device that the policy names; empty for all others."""
        device = self._folder / name
        product = f"{_text(device / 'idVendor')}:{_text(device / 'idProduct')}"
        serial = _text(device / "serial")
        named = any(
            token.vendor_product == product and token.serial in ("", serial) for token in self._tokens
        )
        return product if named else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
