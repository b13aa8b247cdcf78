"""BlueZ over D-Bus (org.bluez.Adapter(5)): adapters, their switches, their changes. Imports dbus-fast lazily."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

SERVICE = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_OBJECTS = "org.freedesktop.DBus.ObjectManager"
_BUS = "org.freedesktop.DBus"
_TIMEOUT_S = 5.0
_MATCHES = (
    f"type='signal',sender='{SERVICE}',interface='{_PROPERTIES}',arg0='{ADAPTER}'",
    f"type='signal',sender='{SERVICE}',interface='{_OBJECTS}',member='InterfacesAdded'",
    f"type='signal',sender='{_BUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
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
        self._address = address
        self._bus: MessageBus | None = None

    async def connect(self, changed: Callable[[], None]) -> None:
        from dbus_fast.aio import MessageBus

        try:
            self._bus = await MessageBus(bus_address=self._address).connect()
        except Exception as error:
            raise BluezError(f"no system bus at {self._address}: {error}") from error
        self._bus.add_message_handler(lambda message: _on_signal(message, changed))
        for match in _MATCHES:
            await self._call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", [match])

    async def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            await self.wait_closed()
            self._bus = None

    async def wait_closed(self) -> None:
        """Returns when the connection is lost."""
        assert self._bus is not None
        # Shielded: whoever stops waiting must not end the future that the next one waits for.
        await asyncio.shield(self._bus.wait_for_disconnect())  # type: ignore[no-untyped-call]

    async def adapters(self) -> list[Adapter]:
        """Empty where BlueZ does not run; it is not started for this."""
        (there,) = await self._call(_BUS, "/org/freedesktop/DBus", _BUS, "NameHasOwner", "s", [SERVICE])
        if not there:
            return []
        (objects,) = await self._call(SERVICE, "/", _OBJECTS, "GetManagedObjects")
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

        await self._call(SERVICE, path, _PROPERTIES, "Set", "ssv", [ADAPTER, name, Variant("b", on)])

    async def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
    ) -> list[Any]:
        from dbus_fast import Message, MessageType

        if self._bus is None:
            raise BluezError(f"{member}: not connected")
        asked = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature,
            body=body or [],
        )  # fmt: skip
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await self._bus.call(asked)
        except (TimeoutError, EOFError, OSError) as error:
            raise BluezError(f"{member}: {error!r}") from error
        if answer.message_type is MessageType.ERROR:
            raise BluezError(f"{member}: {answer.body[0] if answer.body else 'refused'}")
        return list(answer.body)


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
