"""logind over D-Bus (org.freedesktop.login1(5)): sessions, their hints, the lock signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent.system_bus import PROPERTIES, SystemBus

if TYPE_CHECKING:
    from dbus_fast import Message

SERVICE = "org.freedesktop.login1"
_MANAGER = "/org/freedesktop/login1"
_SESSION = "org.freedesktop.login1.Session"
CONSOLE = "tty"
"""The type of a session without a display."""
_MATCHES = (f"type='signal',sender='{SERVICE}'",)


class LogindError(Exception):
    """logind did not answer as documented; the message says what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """``idle_since_unix_ms`` is 0 while somebody is active. ``kind`` is logind's Class: 'user' is a person's.

    ``closing``: the person has signed out and something of theirs still runs. ``background``: another session has the
    seat. ``typed_unix_ms``: when something was typed last at a text console, 0 elsewhere (logind calls one idle only
    after a time of its own, IdleActionSec).
    """

    session_id: str
    account: str
    user_id: int
    session_type: str
    kind: str
    closing: bool
    locked: bool
    idle_since_unix_ms: int
    background: bool = False
    remote: bool = False
    seat: str = ""
    typed_unix_ms: int = 0


class Logind:
    """One connection. ``changed`` is called at every signal of logind, ``sleeping`` with whether the machine is about
    to be suspended or was just woken; they must not block.
    """

    def __init__(self, address: str) -> None:
        self._bus = SystemBus(address, LogindError)

    async def connect(
        self, changed: Callable[[], None] | None = None, sleeping: Callable[[bool], None] | None = None
    ) -> None:
        """Raises ``LogindError`` without a system bus."""
        if changed is None:
            await self._bus.connect()
        else:
            await self._bus.connect(lambda message: _on_signal(message, changed, sleeping), _MATCHES)

    async def close(self) -> None:
        await self._bus.close()

    async def wait_closed(self) -> None:
        """Returns when the connection is lost."""
        await self._bus.wait_closed()

    async def sessions(self) -> list[SessionState]:
        """All sessions; one that ends while it is asked is left out."""
        (listed,) = await self._bus.call(SERVICE, _MANAGER, f"{SERVICE}.Manager", "ListSessions")
        found = []
        for _, _, _, _, path in listed:
            try:
                found.append(await self._session(path))
            except LogindError:
                continue
        return found

    async def session(self, session_id: str) -> SessionState:
        (path,) = await self._bus.call(
            SERVICE, _MANAGER, f"{SERVICE}.Manager", "GetSession", "s", [session_id]
        )
        return await self._session(path)

    async def lock(self, session_id: str) -> None:
        """Sends the lock signal; whether anything locks is another question."""
        await self._bus.call(SERVICE, _MANAGER, f"{SERVICE}.Manager", "LockSession", "s", [session_id])

    async def terminate(self, session_id: str) -> None:
        """Ends the session and everything that runs in it."""
        await self._bus.call(SERVICE, _MANAGER, f"{SERVICE}.Manager", "TerminateSession", "s", [session_id])

    async def lid_closed(self) -> bool:
        """logind sends no signal of this; False where there is no lid."""
        asked = [f"{SERVICE}.Manager", "LidClosed"]
        (found,) = await self._bus.call(SERVICE, _MANAGER, PROPERTIES, "Get", "ss", asked)
        return bool(found.value)

    async def delay_sleep(self, why: str) -> int:
        """A descriptor; until it is closed a suspend waits, for as long as logind allows (5 s by default)."""
        asked = ["sleep", "Schoolkeeper", why, "delay"]
        return await self._bus.descriptor(SERVICE, _MANAGER, f"{SERVICE}.Manager", "Inhibit", "ssss", asked)

    async def _session(self, path: str) -> SessionState:
        (found,) = await self._bus.call(SERVICE, path, PROPERTIES, "GetAll", "s", [_SESSION])
        held = {name: variant.value for name, variant in found.items()}
        try:
            return SessionState(
                session_id=held["Id"], account=held["Name"], user_id=held["User"][0], session_type=held["Type"],
                kind=held["Class"], closing=held["State"] == "closing", locked=held["LockedHint"],
                idle_since_unix_ms=held["IdleSinceHint"] // 1000 if held["IdleHint"] else 0,
                background=not held["Active"], remote=held["Remote"], seat=held["Seat"][0],
                typed_unix_ms=held["IdleSinceHint"] // 1000 if held["Type"] == CONSOLE else 0,
            )  # fmt: skip
        except (KeyError, TypeError, IndexError) as error:
            raise LogindError(f"a session without {error}") from error


def _on_signal(
    message: Message, changed: Callable[[], None], sleeping: Callable[[bool], None] | None
) -> None:
    if not (message.path or "").startswith(_MANAGER):
        return
    if sleeping is not None and message.member == "PrepareForSleep" and message.signature == "b":
        sleeping(bool(message.body[0]))
    changed()


def reachable(address: str) -> str:
    """Empty when there is a system bus with logind behind it, else why not, in words."""
    path = address.partition("path=")[2].partition(",")[0]
    if path and not Path(path).exists():
        return f"there is no system bus ({path}): is dbus installed and running?"
    if not Path("/run/systemd/seats").is_dir():
        return "logind is not running (no /run/systemd/seats): sessions cannot be seen"
    return ""
