"""The helper: shows what the service says, answers whether it could, and asks when its button is pressed.

Without rights or state.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.peers import peer_of
from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.desktop import Desktop
from schoolkeeper_agent.session.lines import Answer, Ask, LineMistake, Reply, Words
from schoolkeeper_agent.session.opening import Opener
from schoolkeeper_agent.session.server import MOST_ASKED

_SHORTEST_S, _LONGEST_S = 1.0, 60.0
NOT_NOW = "The school's agent cannot be reached just now: nothing was asked. Please try again later."
TOO_MANY = "Your requests before this one are still on their way: this one was not sent. Please try again."
ABOUT = "Your request"


async def listen(path: Path, *, bus_address: str, trusted_user: int = 0) -> None:
    """Until cancelled: connects, shows each message, and comes back when the service was restarted.

    Only a service of ``trusted_user`` is believed: whoever else opens that socket could speak in the school's name.
    """
    opener = Opener(path.parent, bus_address)
    helper = Helper(bus_address=bus_address, trusted_user=trusted_user, opener=opener)
    wait = _SHORTEST_S
    try:
        while True:
            with contextlib.suppress(OSError):
                if await helper.once(path):
                    wait = _SHORTEST_S
            await asyncio.sleep(wait)
            wait = min(_LONGEST_S, wait * 2)
    finally:
        helper.desktop.close()


@dataclass(slots=True, kw_only=True)
class Helper:
    """``asked``: requests of this connection that the service has not answered yet."""

    bus_address: str
    trusted_user: int = 0
    opener: Opener | None = None
    desktop: Desktop = field(init=False)
    asked: int = 0
    _writer: asyncio.StreamWriter | None = None
    _says: set[asyncio.Task[bool]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.desktop = Desktop(self.bus_address, self.pressed)

    async def once(self, path: Path) -> bool:
        """One connection to its end; whether anything was heard."""
        reader, writer = await asyncio.open_unix_connection(path, limit=lines.MAX_LINE)
        heard = False
        try:
            if peer_of(writer.get_extra_info("socket")).user_id != self.trusted_user:
                print(f"{path} is not the school's service: its owner is another account", file=sys.stderr)
                return False
            self._writer, self.asked = writer, 0
            while line := await reader.readline():
                await self._hear(lines.read(line), writer)
                heard = True
        except (LineMistake, ValueError) as error:
            print(f"a message could not be read: {error}", file=sys.stderr)
        finally:
            self._writer = None
            writer.close()
        return heard

    async def _hear(self, said: Words | Reply, writer: asyncio.StreamWriter) -> None:
        if isinstance(said, Reply):
            self.asked = max(0, self.asked - 1)
            await self.say(Words(title=ABOUT, text=said.text))
            return
        shown = await self.say(said)
        if said.number:
            writer.write(lines.write_answer(Answer(number=said.number, shown=shown)))
            await writer.drain()

    def pressed(self, rule_id: str) -> None:
        """The button below a refusal. Who asks, the service sees by itself."""
        if self._writer is None or self._writer.is_closing():
            self._say_soon(NOT_NOW)
        elif self.asked >= MOST_ASKED:
            self._say_soon(TOO_MANY)
        else:
            self.asked += 1
            self._writer.write(lines.write_ask(Ask(rule_id=rule_id)))

    def _say_soon(self, text: str) -> None:
        saying = asyncio.create_task(self.say(Words(title=ABOUT, text=text)))
        self._says.add(saying)
        saying.add_done_callback(self._says.discard)

    async def say(self, words: Words) -> bool:
        """On the desktop, in its own window where it has one; else on the terminal this helper was started from.

        False: nobody can have seen it.
        """
        if words.opens and self.opener is not None and await self.opener.open(words.opens):
            return True
        if await self.desktop.show(words):
            return True
        text = show.with_command(words.text, words.ask)
        if show.on_terminal(Path("/dev/tty"), words.title, text):
            return True
        print(f"could not be shown here: {words.title}\n{text}", flush=True)
        return False


def bus_of_this_session() -> str:
    """The person's own bus, or empty."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if address:
        return address
    default = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "bus"
    return f"unix:path={default}" if default.exists() else ""


def reached_by_unit() -> bool:
    """Whether this desktop's bus is the account's own one, which the helper that systemd keeps speaks to, too."""
    own = f"unix:path=/run/user/{os.getuid()}/bus"
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS", own).split(",")[0] == own and Path(own[10:]).exists()
