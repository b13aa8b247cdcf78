"""A desktop's notification daemon on a real bus: Desktop Notifications Specification 1.2, and what can go wrong.

``behaviour``: ``shows``, ``refuses`` (an error in answer), ``hangs`` (no answer at all).
``press`` is what a person does.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from dbus_fast import Message
from dbus_fast.aio import MessageBus

NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    number: int
    application: str
    title: str
    text: str
    actions: tuple[str, ...] = ()


@dataclass
class NotificationDaemon:
    """``shown``: what a person would have seen, in order."""

    bus: MessageBus
    behaviour: str = "shows"
    capabilities: tuple[str, ...] = ("actions", "body")
    shown: list[Shown] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    @asynccontextmanager
    async def serving(cls, address: str) -> AsyncIterator[Self]:
        bus = await MessageBus(bus_address=address).connect()
        daemon = cls(bus)
        bus.add_message_handler(daemon._answer)
        await bus.request_name(NAME)
        try:
            yield daemon
        finally:
            bus.disconnect()

    def _answer(self, message: Message) -> Message | bool | None:
        if (message.interface, message.member) == (f"{NAME}.Hand", "Press"):
            self.press(self.shown[-1].number)
            return Message.new_method_return(message)
        if message.interface != NAME:
            return None
        if self.behaviour == "hangs":
            return True
        if self.behaviour == "refuses":
            return Message.new_error(message, f"{NAME}.Error.ExcessNotificationGeneration", "no more")
        match message.member:
            case "Notify":
                return Message.new_method_return(message, "u", [self._show(message.body)])
            case "CloseNotification":
                self.bus.send(
                    Message.new_signal(PATH, NAME, "NotificationClosed", "uu", [message.body[0], 3])
                )
                return Message.new_method_return(message)
            case "GetServerInformation":
                return Message.new_method_return(message, "ssss", ["fake", "tests", "1", "1.2"])
            case "GetCapabilities":
                return Message.new_method_return(message, "as", [[*self.capabilities]])
            case _:
                return None

    def press(self, number: int, key: str = "ask") -> None:
        """The person presses a button of this notification."""
        self.bus.send(Message.new_signal(PATH, NAME, "ActionInvoked", "us", [number, key]))

    def _show(self, body: list[object]) -> int:
        application, replaces, _, title, text, actions = body[:6]
        assert isinstance(actions, list)
        number = int(str(replaces)) or next(self._numbers)
        self.shown.append(
            Shown(
                number=number,
                application=str(application),
                title=str(title),
                text=str(text),
                actions=tuple(str(one) for one in actions),
            )
        )
        return number
