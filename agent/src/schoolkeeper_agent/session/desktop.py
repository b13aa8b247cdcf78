"""The person's own desktop: notifications, with a button where the desktop can show one.

org.freedesktop.Notifications, Desktop Notifications Specification 1.2. One connection to the person's bus is kept while
a button may still be pressed; it is made anew when the bus was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from schoolkeeper_agent.session.lines import Words
from schoolkeeper_agent.session.show import NAME, with_command

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

DESKTOP_SECONDS = 3.0
ASK_KEY, ASK_LABEL = "ask", "Ask for an exception"
MOST_BUTTONS = 32
"""Notifications whose button is still known; of more, the oldest one's does nothing."""
_URGENT = 2
_SERVICE, _PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"


class Desktop:
    """``pressed`` gets the rule id of a notification whose button was pressed, once."""

    def __init__(self, bus_address: str, pressed: Callable[[str], None]) -> None:
        self._address = bus_address
        self._pressed = pressed
        self._bus: MessageBus | None = None
        self._buttons: dict[tuple[str, int], str] = {}

    async def show(self, words: Words) -> bool:
        """False when nobody serves it or answers in ``DESKTOP_SECONDS``: a desktop that hangs shows nothing."""
        if not self._address:
            return False
        try:
            async with asyncio.timeout(DESKTOP_SECONDS):
                return await self._notify(words)
        except TimeoutError:
            self.close()
            return False

    def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
        self._bus = None
        self._buttons.clear()

    async def _notify(self, words: Words) -> bool:
        from dbus_fast import MessageType, Variant

        bus = await self._connected()
        if bus is None:
            return False
        button = bool(words.ask) and await self._shows_buttons(bus)
        text = words.text if button else with_command(words.text, words.ask)
        actions = [ASK_KEY, ASK_LABEL] if button else []
        hints = {"urgency": Variant("y", _URGENT)}
        answer = await self._call(
            bus,
            "Notify",
            "susssasa{sv}i",
            [NAME, 0, "dialog-information", words.title, text, actions, hints, 0],
        )
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            return False
        if button and answer.sender and answer.body:
            self._remember(answer.sender, int(answer.body[0]), words.ask)
        return True

    async def _connected(self) -> MessageBus | None:
        from dbus_fast import Message
        from dbus_fast.aio import MessageBus
        from dbus_fast.errors import DBusError

        if self._bus is not None and self._bus.connected:
            return self._bus
        self.close()
        try:
            bus = await MessageBus(bus_address=self._address).connect()
            bus.add_message_handler(self._hear)
            rule = f"type='signal',interface='{_SERVICE}',member='ActionInvoked'"
            match = Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
            await bus.call(match)
        except (OSError, DBusError, EOFError, ValueError):
            return None
        self._bus = bus
        return bus

    async def _shows_buttons(self, bus: MessageBus) -> bool:
        """Asked each time: another daemon may have taken over."""
        answer = await self._call(bus, "GetCapabilities", "", [])
        return answer is not None and bool(answer.body) and "actions" in answer.body[0]

    async def _call(self, bus: MessageBus, member: str, signature: str, body: list[object]) -> Message | None:
        from dbus_fast import Message
        from dbus_fast.errors import DBusError

        call = Message(
            destination=_SERVICE,
            path=_PATH,
            interface=_SERVICE,
            member=member,
            signature=signature,
            body=body,
        )
        try:
            return await bus.call(call)
        except (OSError, DBusError, EOFError):
            return None

    def _remember(self, sender: str, number: int, rule_id: str) -> None:
        self._buttons[sender, number] = rule_id
        while len(self._buttons) > MOST_BUTTONS:
            del self._buttons[next(iter(self._buttons))]

    def _hear(self, message: Message) -> None:
        """Of the desktop that showed it, and of nobody else on the bus."""
        if message.member != "ActionInvoked" or message.interface != _SERVICE or message.signature != "us":
            return
        number, key = message.body
        if key != ASK_KEY:
            return
        rule_id = self._buttons.pop((message.sender or "", number), "")
        if rule_id:
            self._pressed(rule_id)
