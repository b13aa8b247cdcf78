"""Shows words to the person: by their desktop's notifications, or on their terminal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from schoolkeeper_agent.session.lines import Words, plain

DESKTOP_SECONDS = 3.0
_URGENT = 2
_NAME = "Schoolkeeper"


async def on_desktop(words: Words, bus_address: str) -> bool:
    """By org.freedesktop.Notifications (Desktop Notifications Specification 1.2).

    False when nobody serves it, or does not answer in ``DESKTOP_SECONDS``: a desktop that hangs shows nothing.
    """
    try:
        async with asyncio.timeout(DESKTOP_SECONDS):
            return await _notify(words, bus_address)
    except TimeoutError:
        return False


async def _notify(words: Words, bus_address: str) -> bool:
    from dbus_fast import Message, MessageType, Variant
    from dbus_fast.aio import MessageBus
    from dbus_fast.errors import DBusError

    try:
        bus = await MessageBus(bus_address=bus_address).connect()
    except (OSError, DBusError, EOFError, ValueError):
        return False
    try:
        answer = await bus.call(
            Message(
                destination="org.freedesktop.Notifications",
                path="/org/freedesktop/Notifications",
                interface="org.freedesktop.Notifications",
                member="Notify",
                signature="susssasa{sv}i",
                body=[
                    _NAME,
                    0,
                    "dialog-information",
                    words.title,
                    words.text,
                    [],
                    {"urgency": Variant("y", _URGENT)},
                    0,
                ],
            )
        )
    except (OSError, DBusError, EOFError):
        return False
    finally:
        bus.disconnect()
    return answer.message_type is MessageType.METHOD_RETURN


def on_terminal(path: Path, title: str, text: str) -> bool:
    """Writes without waiting: a terminal that is held (Ctrl-S) gets nothing."""
    try:
        terminal = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        words = f"\n*** {_NAME}: {plain(title)}\n{plain(text)}\n"
        return os.write(terminal, words.replace("\n", "\r\n").encode()) > 0
    except OSError:
        return False
    finally:
        os.close(terminal)


def terminals_of(user_id: int) -> list[Path]:
    """The terminals that belong to an account; of nobody certain, those of all people."""
    found = []
    for folder, names in (("/dev/pts", "[0-9]*"), ("/dev", "tty[1-9]*")):
        for path in Path(folder).glob(names):
            try:
                owner = path.stat().st_uid
            except OSError:
                continue
            if owner == user_id or (user_id < 0 and owner >= 1000):
                found.append(path)
    return found
