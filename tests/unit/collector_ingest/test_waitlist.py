"""What happens now does not wait behind a backlog, and no stream's batches change places."""

from __future__ import annotations

import threading
from typing import Any, cast

from schoolkeeper_collector.ingest.preparing import SMALL_FRAMES, SMALL_IN_A_ROW, Waitlist
from schoolkeeper_proto import wire


def batch(number: int, frames: int) -> wire.Batch:
    frame = wire.Frame(header=b"", ciphertext=b"")
    return wire.Batch(statement=b"", signature=b"", segments=(), frames=(frame,) * frames, number=number)


class Peers:
    """Streams by name; the waitlist looks at nothing but which one it is."""

    def __init__(self) -> None:
        self._held: dict[str, object] = {}

    def __getitem__(self, name: str) -> Any:
        return cast(Any, self._held.setdefault(name, object()))


def drained(waitlist: Waitlist) -> list[int]:
    waitlist.close()
    found = []
    while (item := waitlist.take()) is not None:
        found.append(item[1].number)
    return found


def test_a_live_batch_goes_before_other_devices_backlog() -> None:
    waitlist, peers = Waitlist(), Peers()
    for number in range(5):
        waitlist.put((peers[f"back-{number}"], batch(number, SMALL_FRAMES + 1), 1))
    waitlist.put((peers["live"], batch(99, 1), 1))
    assert drained(waitlist) == [99, 0, 1, 2, 3, 4]


def test_one_stream_keeps_its_order() -> None:
    waitlist, peers = Waitlist(), Peers()
    for number, frames in enumerate([1, 500, 1, 500, 1]):
        waitlist.put((peers["one"], batch(number, frames), 1))
    waitlist.put((peers["other"], batch(99, 1), 1))
    order = drained(waitlist)
    assert [number for number in order if number != 99] == [0, 1, 2, 3, 4]
    assert order.index(99) < 2


def test_a_backlog_gets_its_turn_however_much_happens_now() -> None:
    waitlist, peers = Waitlist(), Peers()
    waitlist.put((peers["back"], batch(1_000, 400), 1))
    for number in range(3 * SMALL_IN_A_ROW):
        waitlist.put((peers[f"live-{number}"], batch(number, 1), 1))
    assert drained(waitlist).index(1_000) == SMALL_IN_A_ROW


def test_a_stream_that_caught_up_is_live_again() -> None:
    waitlist, peers = Waitlist(), Peers()
    waitlist.put((peers["one"], batch(0, 400), 1))
    assert cast(Any, waitlist.take())[1].number == 0
    waitlist.put((peers["back"], batch(1, 400), 1))
    waitlist.put((peers["one"], batch(2, 1), 1))
    assert drained(waitlist) == [2, 1]


def test_whoever_waits_is_woken_by_a_batch_and_by_the_end() -> None:
    waitlist, found = Waitlist(), []

    def wait() -> None:
        while (item := waitlist.take()) is not None:
            found.append(item[1].number)

    thread = threading.Thread(target=wait)
    thread.start()
    waitlist.put((Peers()["a"], batch(7, 1), 1))
    waitlist.close()
    thread.join(10)
    assert not thread.is_alive()
    assert found == [7]
