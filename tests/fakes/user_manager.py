"""An account's own service manager on a real bus: the two calls of org.freedesktop.systemd1(5) that our helper makes.

``StartTransientUnit`` is noted and answered as systemd answers it: with a job, or with UnitExists while it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus

NAME, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"


@dataclass
class UserManager:
    """``environment`` as desktops hand it over; ``started``: unit name -> command line."""

    bus: MessageBus
    environment: tuple[str, ...] = ()
    started: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def serving(cls, address: str, *environment: str) -> AsyncIterator[Self]:
        bus = await MessageBus(bus_address=address).connect()
        manager = cls(bus, environment)
        bus.add_message_handler(manager._answer)
        await bus.request_name(NAME)
        try:
            yield manager
        finally:
            bus.disconnect()

    def _answer(self, message: Message) -> Message | None:
        match message.interface, message.member, message.signature:
            case "org.freedesktop.DBus.Properties", "Get", "ss":
                assert message.body == [f"{NAME}.Manager", "Environment"]
                return Message.new_method_return(message, "v", [Variant("as", list(self.environment))])
            case "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))":
                unit, mode, properties, _ = message.body
                assert mode == "fail"
                if unit in self.started:
                    return Message.new_error(message, f"{NAME}.UnitExists", f"Unit {unit} was already loaded")
                ((_, command, _),) = dict(properties)["ExecStart"].value
                self.started[unit] = command
                return Message.new_method_return(message, "o", [f"{PATH}/job/1"])
            case _:
                return None
