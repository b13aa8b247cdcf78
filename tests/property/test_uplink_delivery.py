"""Whatever the link, the collector and the clock do: nothing is lost, nothing is stored twice, nothing is stuck."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_agent.uplink import messages
from schoolkeeper_proto.wire import LANES
from support.playbook import Play

FATES = st.sampled_from(["", "", "", "drop", "twice", "late", "cut", "crash"])
STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(LANES), st.integers(1, 5)),
    st.tuples(st.just("link"), st.lists(FATES, min_size=1, max_size=4)),
    st.tuples(st.just("time"), st.integers(1, 200_000)),
    st.tuples(st.just("disconnect"), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("proofs"), st.sampled_from(["none", "forged", "good"])),
    st.tuples(st.just("retry"), st.booleans()),
    st.tuples(st.just("epoch")),
    st.tuples(st.just("restore"), st.integers(0, 3)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_delivery(steps: list[tuple[object, ...]]) -> None:  # noqa: C901 - one branch per kind of step
    play = Play()
    written: set[bytes] = set()
    for step in steps:
        match step:
            case ("write", lane, count):
                for _ in range(count):  # type: ignore[call-overload]
                    event = b"event %d" % len(written)
                    written.add(event)
                    play.spool.append(lane, [event], play.now)  # type: ignore[arg-type]
                play.give(messages.FramesWritten())
            case ("link", fates):
                play.link = list(fates)  # type: ignore[call-overload]
            case ("time", milliseconds):
                play.pass_time(milliseconds)  # type: ignore[arg-type]
            case ("disconnect", too_large):
                if play.connected:
                    play.disconnect(too_large=bool(too_large))
            case ("restart",):
                if play.connected:
                    play.disconnect()
                play.start()
            case ("proofs", how):
                play.collector.no_proofs = how == "none"
                play.collector.forge_proofs = how == "forged"
            case ("retry", on):
                play.collector.retry = bool(on)
            case ("epoch",):
                play.spool.new_epoch("tests", play.now)
                play.give(messages.EpochOpened(epoch=play.spool.epoch))
            case ("restore", back):
                if play.connected:
                    play.disconnect()
                play.collector.restore(max(0, len(play.collector.leaves) - back))  # type: ignore[operator]
    play.link = []
    play.collector.no_proofs = play.collector.forge_proofs = play.collector.retry = False
    play.pass_time(3 * 3_600_000, step=20_000)
    assert set(play.collector.events.values()) == written
    assert play.collector.stored_twice == 0
    assert play.spool.usage().pending_events == 0
    assert play.uplink.proof_failure == ""
    assert len(play.collector.frames) == play.spool.usage().delivered_frames
