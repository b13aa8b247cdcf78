"""BlueZ over D-Bus (org.bluez.Adapter(5)): adapters, their switches, their changes. Imports dbus-fast lazily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schoolkeeper_agent.system_bus import BUS, PROPERTIES, SystemBus

if TYPE_CHECKING:
    from dbus_fast import Message

SERVICE = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
_OBJECTS = "org.freedesktop.DBus.ObjectManager"
_MATCHES = (
    f"type='signal',sender='{SERVICE}',interface='{PROPERTIES}',arg0='{ADAPTER}'",
    f"type='signal',sender='{SERVICE}',interface='{_OBJECTS}',member='InterfacesAdded'",
    f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
)


class BluezError(Exception):
    """The bus or BlueZ did not do what it was asked; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """``on`` names those of Discoverable, Pairable and Powered that are true."""

    path: str
    on: frozenset[str]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Bluez:
    """One connection. ``changed`` is called when an adapter came or changed; it must not block."""

    def __init__(self, address: str) -> None:
        self._bus = SystemBus(address, BluezError)

    async def connect(self, changed: Callable[[], None]) -> None:
        await self._bus.connect(lambda message: _on_signal(message, changed), _MATCHES)

    async def close(self) -> None:
        await self._bus.close()

    async def wait_closed(self) -> None:
        """Returns when the connection is lost."""
        await self._bus.wait_closed()

    async def adapters(self) -> list[Adapter]:
        """Empty where BlueZ does not run; it is not started for this."""
        if not await self._bus.is_served(SERVICE):
            return []
        (objects,) = await self._bus.call(SERVICE, "/", _OBJECTS, "GetManagedObjects")
        return [
            Adapter(
                path=path,
                on=frozenset(name for name, held in interfaces[ADAPTER].items() if held.value is True),
            )
            for path, interfaces in sorted(objects.items())
            if ADAPTER in interfaces
        ]

    async def switch(self, path: str, name: str, *, on: bool) -> None:
        from dbus_fast import Variant

        await self._bus.call(SERVICE, path, PROPERTIES, "Set", "ssv", [ADAPTER, name, Variant("b", on)])


def _on_signal(message: Message, changed: Callable[[], None]) -> None:
    match message.member:
        case "PropertiesChanged":
            concerns = message.body[0] == ADAPTER
        case "InterfacesAdded":
            concerns = ADAPTER in message.body[1]
        case "NameOwnerChanged":
            concerns = message.body[0] == SERVICE and bool(message.body[2])
        case _:
            concerns = False
    if concerns:
        changed()
