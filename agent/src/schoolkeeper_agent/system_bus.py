"""One connection to a D-Bus bus, with calls made by hand: how logind and BlueZ are spoken to. Imports dbus-fast lazily.

Without introspection: its XML parser would cost more memory than all of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

BUS = "org.freedesktop.DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS_PATH = "/org/freedesktop/DBus"
_CALL_TIMEOUT_S = 5.0


class SystemBus:
    """Every method raises ``error``, the speaker's own class, with what was asked and why it was not done."""

    def __init__(self, address: str, error: type[Exception]) -> None:
        self._address = address
        self._error = error
        self._bus: MessageBus | None = None

    async def connect(
        self, heard: Callable[[Message], None] | None = None, matches: Iterable[str] = ()
    ) -> None:
        """``heard`` gets every message that one of ``matches`` (match rules) lets come; it must not block."""
        from dbus_fast.aio import MessageBus

        try:
            self._bus = await MessageBus(bus_address=self._address, negotiate_unix_fd=True).connect()
        except Exception as error:
            raise self._error(f"no system bus at {self._address}: {error}") from error
        if heard is not None:
            self._bus.add_message_handler(heard)
        for match in matches:
            await self.call(BUS, _BUS_PATH, BUS, "AddMatch", "s", [match])

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

    async def is_served(self, name: str) -> bool:
        """Whether somebody owns the well-known name now; nobody is started for this."""
        (there,) = await self.call(BUS, _BUS_PATH, BUS, "NameHasOwner", "s", [name])
        return bool(there)

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
    ) -> list[Any]:
        return list((await self._ask(destination, path, interface, member, signature, body)).body)

    async def descriptor(
        self, destination: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> int:
        """The file descriptor that the method answers with; the caller closes it."""
        answer = await self._ask(destination, path, interface, member, signature, body)
        if not answer.unix_fds:
            raise self._error(f"{member}: answered without a descriptor")
        return int(answer.unix_fds[answer.body[0]])

    async def _ask(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: list[Any] | None,
    ) -> Message:
        from dbus_fast import Message, MessageType

        if self._bus is None:
            raise self._error(f"{member}: not connected")
        asked = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature,
            body=body or [],
        )  # fmt: skip
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):  # wait_for can swallow a cancellation
                answer = await self._bus.call(asked)
        except (TimeoutError, EOFError, OSError) as error:
            raise self._error(f"{member}: {error!r}") from error
        if answer.message_type is MessageType.ERROR:
            raise self._error(f"{member}: {answer.body[0] if answer.body else 'refused'}")
        return answer
