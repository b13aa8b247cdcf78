"""What happens now does not wait behind a backlog, and nothing of one stream changes places."""

from __future__ import annotations

import threading

from schoolkeeper_collector.ingest.limits import InFlight
from schoolkeeper_collector.ingest.waitlist import (
    SMALL_BYTES,
    SMALL_FRAMES,
    SMALL_IN_A_ROW,
    Waitlist,
    is_backlog,
)


class Streams(dict[str, object]):
    """By name; a waitlist looks at nothing but which one it is."""

    def __missing__(self, name: str) -> object:
        return self.setdefault(name, object())


def drained(waitlist: Waitlist[int]) -> list[int]:
    waitlist.close()
    found = []
    while (item := waitlist.take()) is not None:
        found.append(item)
    assert waitlist.ended
    return found


def test_what_is_a_backlog_goes_by_frames_and_by_bytes() -> None:
    assert not is_backlog(SMALL_FRAMES, SMALL_BYTES)
    assert is_backlog(SMALL_FRAMES + 1, 1)
    assert is_backlog(1, SMALL_BYTES + 1)


def test_a_live_batch_goes_before_other_devices_backlog() -> None:
    waitlist, streams = Waitlist[int](), Streams()
    for number in range(5):
        waitlist.put(number, streams[f"back-{number}"], large=True)
    waitlist.put(99, streams["live"], large=False)
    assert drained(waitlist) == [99, 0, 1, 2, 3, 4]


def test_one_stream_keeps_its_order() -> None:
    waitlist, streams = Waitlist[int](), Streams()
    for number, large in enumerate([False, True, False, True, False]):
        waitlist.put(number, streams["one"], large=large)
    waitlist.put(99, streams["other"], large=False)
    order = drained(waitlist)
    assert [number for number in order if number != 99] == [0, 1, 2, 3, 4]
    assert order.index(99) < 2


def test_a_backlog_gets_its_turn_however_much_happens_now() -> None:
    waitlist, streams = Waitlist[int](), Streams()
    waitlist.put(1_000, streams["back"], large=True)
    for number in range(3 * SMALL_IN_A_ROW):
        waitlist.put(number, streams[f"live-{number}"], large=False)
    assert drained(waitlist).index(1_000) == SMALL_IN_A_ROW


def test_a_stream_that_caught_up_is_live_again() -> None:
    waitlist, streams = Waitlist[int](), Streams()
    waitlist.put(0, streams["one"], large=True)
    assert waitlist.take() == 0
    waitlist.put(1, streams["back"], large=True)
    waitlist.put(2, streams["one"], large=False)
    assert drained(waitlist) == [2, 1]


def test_while_the_next_thread_is_crowded_only_what_happens_now_is_taken() -> None:
    waitlist, streams = Waitlist[int](), Streams()
    waitlist.put(0, streams["back"], large=True)
    for number in range(1, SMALL_IN_A_ROW + 10):
        waitlist.put(number, streams["live"], large=False)
    taken = []
    while (item := waitlist.take(within=0, large=False)) is not None:
        taken.append(item)
    assert taken == list(range(1, SMALL_IN_A_ROW + 10))
    assert waitlist.large_waiting == 1
    waitlist.close()
    assert waitlist.take(within=0, large=False) == 0  # at the end everything is finished
    assert waitlist.ended


def test_whoever_waits_waits_only_so_long() -> None:
    waitlist = Waitlist[int]()
    assert waitlist.take(within=0.05) is None
    assert not waitlist.ended


def test_whoever_waits_is_woken_by_an_item_and_by_the_end() -> None:
    waitlist, found = Waitlist[int](), []

    def wait() -> None:
        while (item := waitlist.take()) is not None:
            found.append(item)

    thread = threading.Thread(target=wait)
    thread.start()
    waitlist.put(7, object(), large=False)
    waitlist.close()
    thread.join(60)
    assert not thread.is_alive()
    assert found == [7]


def test_a_backlog_leaves_room_for_what_happens_now() -> None:
    budget = InFlight(100)
    assert budget.take(70, backlog=True)
    assert not budget.take(10, backlog=True)
    assert budget.take(10)
    assert budget.take(20)
    assert not budget.take(1)
    budget.give_back(100)
    assert budget.take(500, backlog=True)  # alone, however big
