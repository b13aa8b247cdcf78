"""The front pages' queue: needs you now, today, waiting. The same lines for a whole page and for a live update."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse

from schoolkeeper_collector.console import sessions
from schoolkeeper_collector.console.access import Role, Stage
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.fleet import Reach, reach
from schoolkeeper_collector.console.pages import devices
from schoolkeeper_collector.console.words import day_start
from schoolkeeper_collector.devices.announcing import LiveBlock, live_blocks
from schoolkeeper_collector.incidents.model import (
    PERSONS_VERDICTS,
    UNDO_MS,
    AlertSummary,
    IncidentSummary,
    ItemState,
    Verdict,
)
from schoolkeeper_collector.incidents.unread import unread
from schoolkeeper_proto.model import Severity

SHOWN = 50
"""So many open alerts at most on the front page; it says when there are more."""
_URGENT = (Severity.HIGH, Severity.CRITICAL)
_LOOK_SECONDS = 0.25
_SESSION_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits for one viewer. ``more``: further open alerts that are not listed."""

    now: tuple[AlertSummary, ...]
    today: tuple[AlertSummary, ...]
    earlier: tuple[AlertSummary, ...]
    watched: tuple[AlertSummary, ...]
    incidents: tuple[IncidentSummary, ...]
    more: bool
    mark: int
    """Grows when anything of this changes."""


def arrange(
    alerts: list[AlertSummary],
    incidents: list[IncidentSummary],
    *,
    mark: int,
    today_ms: int,
    limit: int = SHOWN,
) -> Queue:
    """Sort open items into the parts of the page; ``today_ms`` is when the school's day began."""
    listed = alerts[:limit]
    fresh = [alert for alert in listed if alert.verdict is not Verdict.WATCH]
    calm = [alert for alert in fresh if alert.severity not in _URGENT]
    return Queue(
        now=tuple(alert for alert in fresh if alert.severity in _URGENT),
        today=tuple(alert for alert in calm if alert.last_ms >= today_ms),
        earlier=tuple(alert for alert in calm if alert.last_ms < today_ms),
        watched=tuple(alert for alert in listed if alert.verdict is Verdict.WATCH),
        incidents=tuple(incidents),
        more=len(alerts) > limit,
        mark=mark,
    )


def front(call: Call) -> Response:
    """The page after sign-in: the queue, and for the technician the devices that need something."""
    if call.person.role is Role.STAFF:
        return RedirectResponse("/lessons", HTTPStatus.SEE_OTHER)
    given = call.request.query_params.get("given", "")
    common: dict[str, Any] = {
        "call": call,
        "queue": _queue(call),
        "given": _verdict(call.request.query_params.get("verdict", "")) if is_item(given) else None,
        "given_item": given,
        "undo_seconds": UNDO_MS // 1000,
        "blocks": _blocks(call),
        "unread": _unread(call),
    }
    page = call.console.renderer.page
    if call.person.role is Role.TECHNICIAN:
        return page("front_technician.html", call.language, **common, fleet=devices.load(call))
    return page("front.html", call.language, **common, reach=_reach(call))


def _unread(call: Call) -> int:
    """Items that nobody may read, for who can see to it; the head may be whom they are about."""
    if call.person.role not in (Role.DSL, Role.TECHNICIAN):
        return 0
    with call.console.store.read() as connection:
        return sum(unread(connection, call.console.options.school_id).values())


def _blocks(call: Call) -> tuple[LiveBlock, ...]:
    """Emergency blocks in force: one officer's word, so every other sees it."""
    with call.console.store.read() as connection:
        return live_blocks(connection, call.console.options.school_id, call.now_ms)


def queue(call: Call) -> Response:
    """The queue alone, for a live update; read and logged like the whole page."""
    return call.console.renderer.page("queue.html", call.language, call=call, queue=_queue(call))


def reach_line(call: Call) -> Response:
    """How many devices would have reached somebody today; asked for once a minute, and nothing of any case."""
    return call.console.renderer.page("reach.html", call.language, call=call, reach=_reach(call))


def live(call: Call) -> Response:
    """Server-sent events: "changed" with the mark of the viewer's queue, and nothing of what is in it."""
    return StreamingResponse(_marks(call), media_type="text/event-stream")


def is_item(text: str) -> bool:
    """Whether a text names an item: 16 bytes in hex."""
    return len(text) == 32 and all(letter in "0123456789abcdef" for letter in text)


async def _marks(call: Call) -> AsyncIterator[str]:
    last: int | None = None
    waited = _KEEP_ALIVE_SECONDS
    checked = anyio.current_time()
    while True:
        if anyio.current_time() - checked >= _SESSION_SECONDS:
            checked = anyio.current_time()
            if not await run_in_threadpool(_still_signed_in, call):
                yield "event: signed-out\ndata: \n\n"
                return
        mark = await run_in_threadpool(call.console.cases.change_mark, call.viewer)
        if mark != last:
            last, waited = mark, 0.0
            yield f"event: changed\ndata: {mark}\n\n"
        elif waited >= _KEEP_ALIVE_SECONDS:
            waited = 0.0
            yield ": still here\n\n"
        await anyio.sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _still_signed_in(call: Call) -> bool:
    with call.console.store.read() as connection:
        session = sessions.look_up(connection, call.token, call.console.clock())
    return session is not None and session.stage is Stage.SIGNED_IN


def _queue(call: Call) -> Queue:
    cases = call.console.cases
    # The mark first: what changes in between is shown again, and never missed.
    mark = cases.change_mark(call.viewer)
    alerts = cases.alerts(call.viewer, state=ItemState.OPEN, limit=SHOWN + 1, now_ms=call.now_ms)
    incidents = cases.incidents(call.viewer, state=ItemState.OPEN, limit=20, now_ms=call.now_ms)
    return arrange(alerts, incidents, mark=mark, today_ms=day_start(call.now_ms, call.console.options.zone))


def _reach(call: Call) -> Reach:
    with call.console.store.read() as connection:
        return reach(connection, call.console.options.school_id, call.now_ms)


def _verdict(text: str) -> Verdict | None:
    return next((verdict for verdict in PERSONS_VERDICTS if verdict.value == text), None)
