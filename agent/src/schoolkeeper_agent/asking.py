"""The local socket over which a refused person asks for an exception: one line of JSON there, one line of words back.

The kernel says whose account asks (SO_PEERCRED, unix(7)); what they write is bounded, and how often they ask, too. The
request is an event like any other: sealed, spooled, delivered when there is a network.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from schoolkeeper_agent.session.server import peer_of
from schoolkeeper_proto import model
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.policy import RuleText

NAME = "ask.sock"
REASONS = ("lesson", "accessibility", "mistake", "other")
MAX_WORDS = 300
MAX_LINE = 4096
PER_HOUR = 5
"""Of one account; nobody's requests fill the school's page or the spool."""
_HOUR_MS = 3_600_000
_SECONDS = 5.0


class AskingRefused(Exception):
    """Nothing was asked; says why, to the person."""


class Asking:
    """``emit`` takes the request and the user id that asks; ``now_ms`` is monotonic."""

    def __init__(
        self,
        bundle: Callable[[], OpenBundle],
        emit: Callable[[model.ExceptionRequested, int], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._bundle = bundle
        self._emit = emit
        self._now_ms = now_ms
        self._asked: dict[int, list[int]] = {}

    def take(self, line: bytes, user_id: int) -> str:
        """The request's number. Raises ``AskingRefused``."""
        try:
            said = json.loads(line)
            rule_id, reason, words = str(said["rule"]), str(said["reason"]), str(said.get("words", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AskingRefused("the request cannot be read") from error
        if reason not in REASONS:
            raise AskingRefused(f"the reason must be one of: {', '.join(REASONS)}")
        if len(words) > MAX_WORDS:
            raise AskingRefused(f"write at most {MAX_WORDS} characters; these are {len(words)}")
        rule = _rules(self._bundle()).get(rule_id)
        if rule is None:
            raise AskingRefused(
                f"no rule in force is called {rule_id!r}: it stands in the notice that refused you"
            )
        self._count(user_id)
        reference = secrets.token_hex(3).upper()
        asked = model.ExceptionRequested(
            rule_id=rule_id, reason=reason, words=words, wanted=rule.description[:200], reference=reference
        )
        self._emit(asked, user_id)
        return reference

    def _count(self, user_id: int) -> None:
        now = self._now_ms()
        recent = [at for at in self._asked.get(user_id, []) if now - at < _HOUR_MS]
        if len(recent) >= PER_HOUR:
            raise AskingRefused(
                f"you have asked {PER_HOUR} times within an hour: wait, or go to your teacher"
            )
        self._asked[user_id] = [*recent, now]


async def serve(run_dir: Path, asking: Asking) -> asyncio.Server:
    """Starts answering. A socket left by a dead run is replaced; every account may ask."""
    path = run_dir / NAME
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                line = await reader.readline()
                user_id = peer_of(writer.get_extra_info("socket")).user_id
                try:
                    said = f"asked: {asking.take(line, user_id)}"
                except AskingRefused as refused:
                    said = f"refused: {refused}"
                writer.write(said.encode())
                await writer.drain()
        except (ConnectionError, TimeoutError, ValueError):  # ValueError: a line without an end
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, path=str(path), limit=MAX_LINE)
    path.chmod(0o666)  # everyone may ask; who they are, the kernel says
    return server


def ask(run_dir: Path, rule_id: str, reason: str, words: str, timeout: float = 5.0) -> str:
    """Asks the running agent; the request's number. Raises ``AskingRefused``."""
    line = json.dumps({"rule": rule_id, "reason": reason, "words": words}).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise AskingRefused(f"write at most {MAX_WORDS} characters")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout)
        try:
            asking.connect(str(run_dir / NAME))
            asking.sendall(line)
            parts = []
            while part := asking.recv(65_536):
                parts.append(part)
        except OSError as error:
            raise AskingRefused(
                f"the agent does not run on this device ({error}): tell your teacher"
            ) from error
    word, _, rest = b"".join(parts).decode(errors="replace").partition(": ")
    if word != "asked":
        raise AskingRefused(rest or "the agent gave no answer")
    return rest


def _rules(bundle: OpenBundle) -> dict[str, RuleText]:
    texts = [rule.text for rule in bundle.applications.rules] + [rule.text for rule in bundle.media.rules]
    texts += [rule.text for rule in bundle.browser.rules]
    return {text.rule_id: text for text in texts}
