"""BlueZ's adapters on a real bus: org.bluez.Adapter(5), as far as Discoverable, Pairable and Powered go.

``stubborn`` names switches that stay as they are and answer with an error, as BlueZ does for a blocked radio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus

NAME, ADAPTER = "org.bluez", "org.bluez.Adapter1"
PROPERTIES, OBJECTS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"


@dataclass
class FakeBluez:
    """``asked``: every switch that was set, in order.

    ``contrary``: so often somebody switches on what was just switched off, before anybody can look.
    """

    bus: MessageBus
    adapters: dict[str, dict[str, bool]] = field(default_factory=dict)
    stubborn: frozenset[str] = frozenset()
    contrary: int = 0
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def serving(cls, address: str, *adapters: str) -> AsyncIterator[Self]:
        bus = await MessageBus(bus_address=address).connect()
        fake = cls(bus)
        for name in adapters:
            fake.adapters[f"/org/bluez/{name}"] = {"Discoverable": True, "Pairable": True, "Powered": True}
        bus.add_message_handler(fake._answer)
        await bus.request_name(NAME)
        try:
            yield fake
        finally:
            bus.disconnect()

    def plug(self, name: str) -> None:
        """An adapter comes, and whoever asked for it hears of it."""
        path = f"/org/bluez/{name}"
        self.adapters[path] = {"Discoverable": True, "Pairable": True, "Powered": True}
        body = [path, {ADAPTER: self._all(path)}]
        self.bus.send(Message.new_signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", body))

    def _all(self, path: str) -> dict[str, Variant]:
        held: dict[str, Variant] = {name: Variant("b", on) for name, on in self.adapters[path].items()}
        return held | {"Address": Variant("s", "00:11:22:33:44:55")}

    def _answer(self, message: Message) -> Message | None:
        if message.interface == OBJECTS and message.member == "GetManagedObjects":
            objects = {path: {ADAPTER: self._all(path)} for path in self.adapters}
            everything = {"/org/bluez": {"org.bluez.AgentManager1": {}}, **objects}
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [everything])
        if message.interface != PROPERTIES or message.path not in self.adapters:
            return None
        path = str(message.path)
        if message.member == "Get":
            return Message.new_method_return(
                message, "v", [Variant("b", self.adapters[path][message.body[1]])]
            )
        if message.member == "Set":
            _, name, value = message.body
            return self._set(message, path, name, bool(value.value))
        return None

    def _set(self, message: Message, path: str, name: str, on: bool) -> Message:
        self.asked.append((path, name, on))
        if name in self.stubborn:
            return Message.new_error(message, "org.bluez.Error.Failed", "Failed")
        if self.adapters[path][name] != on:
            self.adapters[path][name] = on
            body = [ADAPTER, {name: Variant("b", on)}, []]
            self.bus.send(Message.new_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))
            if not on and self.contrary:
                self.contrary -= 1
                self.adapters[path][name] = True
        return Message.new_method_return(message)
