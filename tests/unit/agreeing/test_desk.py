"""The service's side of the agreement: over the real session socket, with a real spool on a disk that may fail."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from schoolkeeper_agent import core
from schoolkeeper_agent.agreeing.deciding import AGAIN_MS, ALLOWED, DAY_MS
from schoolkeeper_agent.agreeing.door import OPENS, TRY_AGAIN_MS, AgreeingDoor
from schoolkeeper_agent.peers import Peer
from schoolkeeper_agent.session.agreeing_lines import (
    Answer,
    By,
    Request,
    Said,
    Standing,
    Why,
    read_answer,
    write_request,
)
from schoolkeeper_agent.session.calling import call
from schoolkeeper_agent.spool.contract import Appended, Spool
from support.agreeing import ADMIN, ME, OTHER, SECTION, SHARED, Bench
from support.patience import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as made:
        yield made


async def over_the_socket(bench: Bench, request: Request) -> Answer:
    return await asyncio.to_thread(call, bench.run_dir, write_request(request), read_answer, seconds=20)


async def test_over_the_socket_whoever_answers_is_who_the_kernel_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests' own account is the peer; no field of a request could name another one."""
    if os.getuid() < 1000:
        monkeypatch.setattr("schoolkeeper_agent.session.server.peer_of", lambda _: Peer(os.getpid(), OTHER))
    me = OTHER if os.getuid() < 1000 else os.getuid()
    bench.sign_in(ME, me)
    found = await over_the_socket(bench, Request(what=Said.LOOK))
    assert (found.standing, found.band, found.due, found.allowed) == (Standing.OPEN, "ks2", True, ALLOWED)
    for what in (Said.SHOWN, Said.AGREE):
        found = await over_the_socket(bench, Request(what=what, version=found.version, language="cy"))
    assert found.standing is Standing.AGREED
    assert (await bench.say(Said.LOOK, user_id=ME)).standing is Standing.OPEN, (
        "nobody answers for another account"
    )
    assert bench.events() == 2
    await eventually(lambda: bool(bench.shown), "the account is told")
    assert bench.shown[0].user_id == me
    assert "You agreed" in bench.shown[0].text, "no program of an account agrees unseen"


async def test_what_was_agreed_to_holds_after_a_restart_and_offline(bench: Bench, tmp_path: Path) -> None:
    bench.sign_in(ME, OTHER)
    for what in (Said.SHOWN, Said.AGREE):
        await bench.say(what)
    await bench.say(Said.SHOWN, user_id=OTHER)
    await bench.__aexit__()
    async with Bench(tmp_path) as again:
        again.sign_in(ME, OTHER)
        assert (await again.say(Said.LOOK)).standing is Standing.AGREED
        other = await again.say(Said.LOOK, user_id=OTHER)
        assert (other.standing, other.due) == (Standing.OPEN, False), "shown today, and not answered"
        assert (await again.say(Said.AGREE)).standing is Standing.AGREED
        assert again.events() == 0, "nothing is counted twice"
        bench = again


@pytest.mark.parametrize("after", [False, True], ids=["before-the-write", "after-the-write"])
async def test_killed_between_the_click_and_the_event_there_are_both_or_neither(
    tmp_path: Path, after: bool
) -> None:
    """SIGKILL in the spool's thread: the note of the answer and its event are one write."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_agree_and_die(tmp_path, after=after))
        finally:
            os._exit(7)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    async with Bench(tmp_path) as again:
        again.sign_in(ME)
        pending = await asyncio.wrap_future(again.heart.writer.call(lambda spool: spool.usage()))
        found = await again.say(Said.LOOK)
        assert (found.standing, pending.pending_events) == (
            (Standing.AGREED, 2) if after else (Standing.OPEN, 1)
        )
        found = await again.say(Said.AGREE)
        assert found.standing is Standing.AGREED
        assert pending.pending_events + again.events() == 2, "counted once"


async def _agree_and_die(folder: Path, *, after: bool) -> None:
    async with Bench(folder) as bench:
        bench.sign_in(ME)
        await bench.say(Said.SHOWN)

        def deadly(spool: Spool) -> None:
            append = spool.append

            def dies(*given: object) -> Appended:
                if after:
                    append(*given)  # type: ignore[arg-type]
                os.kill(os.getpid(), signal.SIGKILL)
                return append(*given)  # type: ignore[arg-type]

            spool.append = dies  # type: ignore[method-assign, assignment]

        await asyncio.wrap_future(bench.heart.writer.call(deadly))
        await bench.say(Said.AGREE)


async def test_a_full_disk_is_said_and_what_was_not_kept_is_asked_for_again(bench: Bench) -> None:
    bench.sign_in(ME)
    await bench.say(Said.SHOWN)
    bench.full = True
    found = await bench.say(Said.AGREE)
    assert (found.standing, found.why) == (Standing.OPEN, Why.NOT_KEPT)
    bench.full = False
    assert (await bench.say(Said.LOOK)).standing is Standing.OPEN
    assert [one.agreed_ms for one in (await bench.note()).values()] == [0]
    assert (await bench.say(Said.AGREE)).standing is Standing.AGREED
    assert bench.events() == 2


async def test_a_shared_account_is_answered_for_by_an_adult_and_system_accounts_are_not_asked(
    bench: Bench,
) -> None:
    bench.sign_in(SHARED, ADMIN)
    assert (await bench.say(Said.LOOK, user_id=SHARED)).by_adult
    await bench.say(Said.SHOWN, user_id=SHARED)
    assert (await bench.say(Said.AGREE, user_id=SHARED)).why is Why.WHO
    assert (await bench.say(Said.AGREE, by=By.STAFF, user_id=SHARED)).standing is Standing.AGREED
    assert (await bench.say(Said.LOOK, user_id=ADMIN)).standing is Standing.NOBODY_ASKS
    assert (await bench.say(Said.LOOK, user_id=1 << 20)).standing is Standing.NOBODY_ASKS, "nobody knows it"


async def test_the_age_band_of_the_register_picks_what_is_asked(bench: Bench) -> None:
    for groups, band in (("ks1", "ks1"), ("ks2", "ks2"), ("staff", "")):
        bench.put_in_force(SECTION)
        bench.sign_in(ME)
        bench.heart.state = replace(
            bench.heart.state,
            people=cast(
                "core.CoreState",
                SimpleNamespace(groups_of=lambda _, g=groups: frozenset({"people:known", f"people:{g}"})),
            ),  # type: ignore[arg-type]
        )
        found = await bench.say(Said.LOOK)
        assert found.band == band
        assert found.by_adult is (band == "ks1")
        assert (found.standing is Standing.NOBODY_ASKS) is not bool(band)


async def test_rules_that_change_are_asked_for_anew_and_an_old_window_is_told(bench: Bench) -> None:
    bench.sign_in(ME)
    old = bench.version
    for what in (Said.SHOWN, Said.AGREE):
        await bench.say(what)
    bench.put_in_force(replace(SECTION, version="2027-01"), written=False)
    assert (await bench.say(Said.LOOK)).standing is Standing.NOT_READY, "its text is not written yet"
    bench.put_in_force(replace(SECTION, version="2027-01"))
    found = await bench.say(Said.LOOK)
    assert (found.standing, found.due) == (Standing.OPEN, True)
    assert (await bench.say(Said.AGREE, version=old)).why is Why.CHANGED
    bench.put_in_force(None)
    assert (await bench.say(Said.LOOK, version=old)).standing is Standing.NOBODY_ASKS


async def test_the_door_opens_it_for_whoever_is_due_and_lets_everybody_else_be(bench: Bench) -> None:
    bench.sign_in(ME, OTHER, ADMIN)
    for what in (Said.SHOWN, Said.AGREE):
        await bench.say(what, user_id=OTHER)
    door = AgreeingDoor(bench.parts, bench._account, bench._say)
    door._desk = bench.desk
    bench.shown.clear()

    async def minute() -> list[int]:
        bench.shown.clear()
        bench.skipped_ms += 60_000
        door.each_minute()
        await asyncio.gather(*bench.jobs)
        return [one.user_id for one in bench.shown if one.opens == OPENS]

    await asyncio.gather(*bench.jobs)
    assert await minute() == [], "a desktop needs a moment"
    assert await minute() == [ME]
    assert "999" in bench.shown[0].text
    assert await minute() == [], "not each minute"
    bench.skipped_ms += TRY_AGAIN_MS
    assert await minute() == [ME], "until it was shown"
    await bench.say(Said.SHOWN)
    await bench.say(Said.LATER)
    bench.skipped_ms += AGAIN_MS - 120_000
    assert await minute() == []
    bench.skipped_ms += 3_600_000
    assert await minute() == [ME], "a reminder on the next day"
    await bench.say(Said.SHOWN)
    await bench.say(Said.AGREE)
    bench.skipped_ms += 300 * DAY_MS
    assert await minute() == []
    bench.skipped_ms += 66 * DAY_MS
    assert set(await minute()) == {ME, OTHER}, "after the school's days"
