"""The helper: listens to the service, shows what it says, and answers whether it could. Without rights or state."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.lines import Answer, LineMistake, Words
from schoolkeeper_agent.session.server import server_user

_SHORTEST_S, _LONGEST_S = 1.0, 60.0


async def listen(path: Path, *, bus_address: str, trusted_user: int = 0) -> None:
    """Until cancelled: connects, shows each message, and comes back when the service was restarted.

    Only a service of ``trusted_user`` is believed: whoever else opens that socket could speak in the school's name.
    """
    wait = _SHORTEST_S
    while True:
        with contextlib.suppress(OSError):
            if await _once(path, bus_address, trusted_user):
                wait = _SHORTEST_S
        await asyncio.sleep(wait)
        wait = min(_LONGEST_S, wait * 2)


async def _once(path: Path, bus_address: str, trusted_user: int) -> bool:
    """One connection to its end; whether anything was heard."""
    reader, writer = await asyncio.open_unix_connection(path, limit=lines.MAX_LINE)
    heard = False
    try:
        if server_user(writer.get_extra_info("socket")) != trusted_user:
            print(f"{path} is not the school's service: its owner is another account", file=sys.stderr)
            return False
        while line := await reader.readline():
            words = lines.read(line)
            shown = await say(words, bus_address)
            heard = True
            if words.number:
                writer.write(lines.write_answer(Answer(number=words.number, shown=shown)))
                await writer.drain()
    except (LineMistake, ValueError) as error:
        print(f"a message could not be read: {error}", file=sys.stderr)
    finally:
        writer.close()
    return heard


async def say(words: Words, bus_address: str) -> bool:
    """On the desktop; without one, on the terminal this helper was started from. False: nobody can have seen it."""
    if bus_address and await show.on_desktop(words, bus_address):
        return True
    if show.on_terminal(Path("/dev/tty"), words.title, words.text):
        return True
    print(f"could not be shown here: {words.title}\n{words.text}", flush=True)
    return False


def bus_of_this_session() -> str:
    """The person's own bus, or empty."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if address:
        return address
    default = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "bus"
    return f"unix:path={default}" if default.exists() else ""
