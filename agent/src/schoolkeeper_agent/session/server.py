"""The service's end: hands words to the helpers in people's sessions, and takes what people ask for.

Fulfils the runtime's ``Teller``. Whatever a peer sends is as much as its account may say: who it is, the kernel tells.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast

from schoolkeeper_agent.peers import Peer, peer_of
from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.lines import SOCKET_NAME, Ask, AskLately, LineMistake, Reply, Words
from schoolkeeper_agent.session.own import is_own
from schoolkeeper_agent.session.silenced import Silenced
from schoolkeeper_agent.system import here

if TYPE_CHECKING:
    from schoolkeeper_agent.session import agreeing_lines, telling_lines

    _Request = Ask | AskLately | telling_lines.Request | agreeing_lines.Request

MAX_HELPERS = 64
MAX_HELPERS_PER_USER = 8
MAX_STRANGERS = 24
ANSWER_SECONDS = 5.0
"""Longer than a helper waits for its desktop (``show.DESKTOP_SECONDS``)."""
PAUSE_SECONDS = 0.25
"""Between two requests on a connection, and before its place is free again: nobody makes the service busy by asking."""
MOST_ASKED = 4
"""Requests on one connection that wait for their turn."""
_WRITE_LIMIT = 64 << 10
_LATE = 64
_log = logging.getLogger(__name__)

UserOf = Callable[[str], int]
"""Session id -> user id, -1 when it is not known."""


class Desk(Protocol):
    """Answers requests; decides what an account may ask and how often. Never raises."""

    async def asked(self, user_id: int, request: Ask | AskLately) -> Reply: ...


class Listener(Protocol):
    """Takes what people tell the school, and says what became of it. Never raises."""

    async def told(self, user_id: int, request: telling_lines.Request) -> telling_lines.Answer: ...


class Agreeing(Protocol):
    """Says what an account is asked to agree to, and takes what it says to that. Never raises."""

    async def answer(self, user_id: int, request: agreeing_lines.Request) -> agreeing_lines.Answer: ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Helper:
    """``own``: the one that systemd keeps. ``mute``: it left words unanswered, so nobody waits for it again until it
    answers."""

    peer: Peer
    writer: asyncio.StreamWriter
    own: bool = False
    mute: bool = False
    asked: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    late: deque[int] = field(default_factory=lambda: deque(maxlen=_LATE))
    requests: asyncio.Queue[_Request] = field(default_factory=lambda: asyncio.Queue(MOST_ASKED))
    serving: asyncio.Task[None] | None = None

    def ask(self, words: Words) -> asyncio.Future[bool]:
        """The answer to these words: shown or not. A helper that does not read is left out."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self.writer.is_closing() or self.writer.transport.get_write_buffer_size() >= _WRITE_LIMIT:
            answer.set_result(False)
            return answer
        self.writer.write(lines.write(words))
        if self.mute:
            self.late.append(words.number)
            answer.set_result(False)
        else:
            self.asked[words.number] = answer
        return answer

    def answered(self, answer: lines.Answer) -> None:
        """Raises ``LineMistake`` for an answer to nothing: who talks without being asked is no helper of ours."""
        asked = self.asked.pop(answer.number, None)
        if asked is not None:
            if not asked.done():
                asked.set_result(answer.shown)
        elif answer.number in self.late:
            self.late.remove(answer.number)
        else:
            raise LineMistake(f"an answer to {answer.number}, which was not asked")
        self.mute = False

    def give_up(self, number: int) -> None:
        if self.asked.pop(number, None) is not None:
            self.mute = True
            self.late.append(number)

    def gone(self) -> None:
        for answer in self.asked.values():
            if not answer.done():
                answer.set_result(False)
        self.asked.clear()


class SessionServer:
    """``user_of`` tells whose session an id is, ``terminals`` where to write when no helper could show anything.

    ``known``: whether somebody of this user id is signed in. The others share ``MAX_STRANGERS`` places. ``is_own``:
    whether a process (its id, its user's) is the helper that systemd keeps; once an account had that one, no other
    program of it is believed to have shown anything. ``silenced`` is told when that helper ends, and when an account
    has no place left.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        user_of: UserOf = lambda _: -1,
        terminals: Callable[[int], Iterable[Path]] = show.terminals_of,
        answer_seconds: float = ANSWER_SECONDS,
        desk: Desk | None = None,
        listener: Listener | None = None,
        agreeing: Agreeing | None = None,
        known: Callable[[int], bool] = lambda _: True,
        is_own: Callable[[int, int], bool] = is_own,
        silenced: Silenced | None = None,
    ) -> None:
        self._path = run_dir / SOCKET_NAME
        self._user_of = user_of
        self._terminals = terminals
        self._answer_seconds = answer_seconds
        self._desk = desk
        self._listener = listener
        self._agreeing = agreeing
        self._known = known
        self._is_own = is_own
        self._silenced = silenced
        self._kept_for: set[int] = set()
        self._closing = False
        self._server: asyncio.Server | None = None
        self._helpers: list[_Helper] = []
        self._numbers = itertools.count(1)
        self.not_said = 0
        """Messages that reached nobody."""

    async def start(self) -> None:
        """Listens; the socket is open to every account: whoever connects hears, answers, and may ask for itself."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await here.start_local_server(self._joined, self._path, limit=lines.MAX_PEER_LINE)
        self._path.chmod(0o666)

    async def close(self) -> None:
        self._closing = True
        if self._server is not None:
            self._server.close()
            # Aborted: a helper that does not read would hold up an orderly end for ever.
            for helper in list(self._helpers):
                helper.writer.transport.abort()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    @property
    def peers(self) -> tuple[Peer, ...]:
        return tuple(helper.peer for helper in self._helpers)

    async def tell(self, effect: Tell) -> None:
        """Says it to the session's person, or to everybody; never raises for somebody who is not there.

        Whoever has a helper that could show nothing (no desktop that shows notifications, no terminal), or that does
        not say, gets it on their terminals. Takes ``answer_seconds`` at most.
        """
        user_id = effect.user_id
        if user_id < 0 and effect.session_id:
            user_id = self._user_of(effect.session_id)
        shown_to, asked = await self._by_helpers(user_id, effect)
        missed = asked - shown_to
        if not missed and not shown_to:
            missed = {user_id}
        reached = bool(shown_to)
        for user in sorted(missed):
            reached |= await self._on_terminals(user, effect)
        if not reached and user_id < 0 and user_id not in missed:
            reached = await self._on_terminals(user_id, effect)
        if not reached:
            self.not_said += 1
            _log.warning("nobody could be told: %s", effect.title)

    async def _by_helpers(self, user_id: int, effect: Tell) -> tuple[set[int], set[int]]:
        """User ids that saw it, and those whose helpers were asked to show it."""
        number = next(self._numbers)
        ask = effect.rule_id if effect.askable else ""
        words = Words(title=effect.title, text=effect.text, number=number, ask=ask, opens=effect.opens)
        answers = {h: h.ask(words) for h in self._helpers if user_id in (-1, h.peer.user_id)}
        if answers:
            await asyncio.wait(answers.values(), timeout=self._answer_seconds)
        for helper in answers:
            helper.give_up(number)
        shown = {
            h.peer.user_id
            for h, answer in answers.items()
            if answer.done() and answer.result() and (h.own or h.peer.user_id not in self._kept_for)
        }
        return shown, {helper.peer.user_id for helper in answers}

    async def _on_terminals(self, user_id: int, effect: Tell) -> bool:
        ask = effect.rule_id if effect.askable else ""
        text = show.with_command(effect.text, ask)
        written = [
            await asyncio.to_thread(show.on_terminal, path, effect.title, text)
            for path in self._terminals(user_id)
        ]
        return any(written)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        own = self._is_own(peer.process_id, peer.user_id)
        if not own and not self._has_place(peer):
            if self._silenced is not None:
                self._silenced.turned_away(peer.user_id)
            writer.close()
            return
        if own:
            self._kept_for.add(peer.user_id)
        helper = _Helper(peer=peer, writer=writer, own=own)
        self._helpers.append(helper)
        try:
            while line := await reader.readline():
                self._heard(helper, lines.read_peer(line))
        except (OSError, ValueError) as error:  # a LineMistake, or a line without end
            _log.info("the session helper of user %d is let go: %s", peer.user_id, error)
        finally:
            helper.gone()
            if own and self._silenced is not None and not self._closing:
                self._silenced.helper_ended(peer.user_id)
            writer.transport.abort()
            if helper.serving is not None:
                helper.serving.cancel()
                await asyncio.sleep(PAUSE_SECONDS)
            self._helpers.remove(helper)

    def _has_place(self, peer: Peer) -> bool:
        """One account may own many user ids (subuid(5)); with them it takes no place of those who are signed in."""
        others = [helper.peer.user_id for helper in self._helpers]
        if len(others) >= MAX_HELPERS or others.count(peer.user_id) >= MAX_HELPERS_PER_USER:
            return False
        return self._known(peer.user_id) or sum(not self._known(user) for user in others) < MAX_STRANGERS

    def _heard(self, helper: _Helper, said: lines.Answer | _Request) -> None:
        """Raises ``LineMistake`` for more than a person would send."""
        if isinstance(said, lines.Answer):
            helper.answered(said)
            return
        if self._served(said) is None or helper.requests.full():
            raise LineMistake("more requests than the service takes")
        helper.requests.put_nowait(said)
        if helper.serving is None:
            helper.serving = asyncio.create_task(self._serve(helper))

    def _served(self, said: _Request) -> Desk | Listener | Agreeing | None:
        if isinstance(said, Ask | AskLately):
            return self._desk
        return self._agreeing if _is_agreeing(said) else self._listener

    async def _serve(self, helper: _Helper) -> None:
        """One request after the other; words to show are not held up by them."""
        while True:
            helper.writer.write(await self._answer(helper.peer.user_id, await helper.requests.get()))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(self, user_id: int, request: _Request) -> bytes:
        if isinstance(request, Ask | AskLately):
            assert self._desk is not None
            return lines.write(await self._desk.asked(user_id, request))
        if _is_agreeing(request):
            from schoolkeeper_agent.session import agreeing_lines

            assert self._agreeing is not None
            return agreeing_lines.write_answer(await self._agreeing.answer(user_id, request))
        from schoolkeeper_agent.session.telling_lines import write_answer

        assert self._listener is not None
        return write_answer(await self._listener.told(user_id, cast("telling_lines.Request", request)))


def _is_agreeing(
    request: telling_lines.Request | agreeing_lines.Request,
) -> TypeGuard[agreeing_lines.Request]:
    """Told without loading what most accounts never need."""
    return hasattr(request, "version")
