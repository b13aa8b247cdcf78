"""The uplink as scripts of inputs and effects, against a collector that speaks the real wire."""

from __future__ import annotations

import pytest

from fakes.collector import COMMAND
from fakes.memory_spool import MemorySpool
from schoolkeeper_agent.spool.contract import Owner, Wanted
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.standing import Memory
from schoolkeeper_proto import model, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.playbook import Play
from support.spools import OWNER, TARGET


def write(play: Play, count: int, lane: Lane = Lane.NORMAL, name: str = "event") -> None:
    for number in range(count):
        play.spool.append(lane, [f"{name} {lane} {number}".encode()], play.now)
    play.give(messages.FramesWritten())


def connected(count: int = 0) -> Play:
    play = Play()
    play.pass_time(10_000)
    assert play.uplink.connected
    if count:
        write(play, count)
    return play


def test_what_is_written_is_delivered_with_a_proof() -> None:
    play = connected()
    write(play, 20)
    assert len(play.collector.events) == 20
    assert play.spool.usage().delivered_frames == 20
    assert play.uplink.memory.witness.last is not None
    assert play.uplink.memory.witness.last.size == len(play.collector.leaves)


def test_critical_goes_first_whenever_it_was_written() -> None:
    play = Play()
    write(play, 3, Lane.BULK)
    write(play, 1, Lane.CRITICAL)
    play.pass_time(10_000)
    assert next(lane for _, lane, _ in play.collector.frames) is Lane.CRITICAL


def test_without_a_proof_nothing_is_delivered_and_new_frames_are_sent_all_the_same() -> None:
    play = connected()
    play.collector.no_proofs = True
    write(play, 5)
    write(play, 5, name="later")
    assert len(play.collector.events) == 10
    assert play.spool.usage().delivered_frames == 0
    assert "without a checkpoint" in play.uplink.proof_failure
    assert [r.what for r in play.reports if isinstance(r, model.AgentTampered)] == ["ledger proof"]
    sent = play.collector.batches
    play.pass_time(600_000)
    assert play.collector.batches == sent, "what was acknowledged is not sent over and over"


def test_a_device_whose_proofs_fail_says_so_and_recovers_when_they_hold_again() -> None:
    play = connected()
    play.collector.forge_proofs = True
    write(play, 5)
    assert "not in the ledger" in play.uplink.proof_failure
    play.disconnect()
    play.pass_time(10_000)
    assert play.collector.hello is not None
    play.collector.forge_proofs = False
    play.pass_time(4_000_000)
    assert play.uplink.proof_failure == ""
    assert play.spool.usage().delivered_frames == 5
    assert play.collector.stored_twice == 0


def test_the_failure_is_in_the_next_hello_also_after_a_restart() -> None:
    play = connected()
    play.collector.forge_proofs = True
    write(play, 1)
    play.disconnect()
    play.start()
    play.pass_time(3_000)
    assert play.collector.hello is not None
    assert "not in the ledger" in play.collector.hello.proof_failure


def test_a_forked_ledger_is_not_believed() -> None:
    play = connected(5)
    before = play.uplink.memory.witness.note
    play.collector.leaves = [bytes([n]) * 32 for n in range(3)]
    write(play, 1, name="fork")
    assert play.uplink.proof_failure
    assert play.uplink.memory.witness.note == before
    assert play.spool.usage().pending_events == 1


def test_a_ledger_that_shrank_is_not_believed_without_a_recovery_statement() -> None:
    play = connected(3)
    write(play, 3, name="more")
    play.disconnect()
    play.collector.leaves = play.collector.leaves[:1]
    play.pass_time(30_000)
    assert "shrank" in play.uplink.proof_failure


@pytest.mark.parametrize("signers", [0, 1])
def test_a_restore_that_fewer_than_two_officers_signed_is_not_believed(signers: int) -> None:
    play = connected(5)
    play.disconnect()
    play.collector.restore(0, signers=signers)
    play.pass_time(30_000)
    assert f"signed by {signers} of the school's officers" in play.uplink.proof_failure
    assert play.spool.usage().delivered_frames == 5


def test_after_a_restore_the_device_sends_again_what_the_collector_lost() -> None:
    play = connected()
    for _ in range(5):
        write(play, 1, name=str(play.collector.batches))
    old = play.uplink.memory.witness.note
    play.disconnect()
    play.collector.restore(2)
    play.pass_time(30_000)
    assert play.uplink.proof_failure == ""
    assert len(play.collector.events) == 5
    assert play.spool.usage().delivered_frames == 5
    play.disconnect()
    play.pass_time(30_000)
    assert play.collector.hello is not None
    assert play.collector.hello.previous_generation_checkpoint == old


def test_a_poison_frame_is_found_set_aside_and_blocks_nothing() -> None:
    play = Play()
    write(play, 40)
    reading = play.spool.read(Wanted(max_bytes=1 << 20, max_frames=99))
    assert reading is not None
    play.collector.poison = {reading.frames[17].root}
    play.collector.whole_batch = True
    play.pass_time(60_000)
    assert len(play.collector.events) == 39
    assert play.spool.usage().set_aside_events == 1
    assert [r.first_sequence for r in play.reports if isinstance(r, model.SetAside)] == [17]


def test_a_collector_that_refuses_everything_for_weeks_costs_few_frames_and_no_others() -> None:
    play = Play()
    write(play, 200)
    play.collector.refuse_all = "a mistake in the collector's keys"
    for _ in range(20):
        play.pass_time(24 * 3_600_000, step=600_000)
    aside = play.spool.usage().set_aside_events
    assert 0 < aside <= 16
    play.collector.refuse_all = ""
    play.pass_time(24 * 3_600_000, step=600_000)
    assert len(play.collector.events) == 200 - aside
    assert play.spool.usage().pending_events == 0


def test_retry_keeps_the_frames_and_tries_less_and_less_often() -> None:
    play = connected()
    play.collector.retry = True
    write(play, 3)
    play.pass_time(3_600_000)
    assert 3 < play.collector.batches < 40
    play.collector.retry = False
    play.pass_time(3_600_000)
    assert len(play.collector.events) == 3


def test_pushback_is_obeyed_per_lane() -> None:
    play = connected()
    stop = wire.Pushback(retry_after_ms=60_000, lanes=(Lane.NORMAL,))
    play.give(messages.Received(body=stop))
    write(play, 2, Lane.NORMAL)
    write(play, 2, Lane.CRITICAL)
    assert {lane for _, lane, _ in play.collector.frames} == {Lane.CRITICAL}
    play.pass_time(120_000)
    assert len(play.collector.events) == 4


def test_a_batch_that_is_never_acknowledged_is_cut_smaller_on_a_new_stream() -> None:
    play = connected()
    play.link = ["drop"]
    write(play, 1)
    play.spool.append(Lane.NORMAL, [b"second"], play.now)
    play.pass_time(200_000)
    assert any(isinstance(e, messages.Disconnect) and "in time" in e.reason for e in play.done)
    assert play.spool.usage().pending_events == 0


def test_a_collector_that_goes_silent_is_left() -> None:
    play = connected()
    play.link = ["drop"] * 10
    play.pass_time(200_000)
    assert any(isinstance(e, messages.Disconnect) and "silent" in e.reason for e in play.done)


def test_a_conflict_sets_the_frame_aside_and_opens_a_new_epoch() -> None:
    play = connected()
    epoch = play.spool.epoch
    play.collector.frames[epoch, Lane.NORMAL, 0] = (1, b"r" * 32)
    write(play, 1)
    assert play.spool.epoch != epoch
    assert play.spool.usage().set_aside_events == 1
    write(play, 2, name="after")
    assert len(play.collector.events) == 2


def test_a_spool_that_was_set_back_opens_a_new_epoch_and_its_frames_still_go() -> None:
    play = connected(5)
    restored = MemorySpool(OWNER, TARGET)
    restored._epochs, restored._heads = (
        [(play.spool.epoch, "restored")],
        {(play.spool.epoch, lane): (0, wire.CHAIN_START) for lane in wire.LANES},
    )
    play.disconnect()
    play.spool = restored
    write(play, 2, Lane.BULK, name="written before contact")
    play.start()
    play.pass_time(30_000)
    assert restored.epoch != play.collector.hello.epoch  # type: ignore[union-attr]
    assert len(play.collector.events) == 7


def test_frames_of_an_earlier_enrolment_are_set_aside_and_said() -> None:
    play = Play(spool=MemorySpool(Owner(school_id="tests", device_id=b"x" * 16, machine_hash=b""), TARGET))
    write(play, 2)
    play.pass_time(30_000)
    assert play.spool.usage().set_aside_events == 2
    assert [r.events for r in play.reports if isinstance(r, model.SetAside)] == [2]


def command(
    order: wire.Order, expires: int, command_id: bytes = b"1" * 16, device: bytes = OWNER.device_id
) -> wire.Command:
    statement = encode(
        wire.CommandStatement(
            school_id="tests", command_id=command_id, device_id=device, expires_unix_ms=expires, order=order
        )
    )
    signed = statements.sign(statements.COMMAND, statement, COMMAND)
    return wire.Command(statement=statement, key_id=signed.key_id, signature=signed.signature)


def test_commands_are_obeyed_once_in_time_and_only_by_their_device() -> None:
    play = connected()
    later = play.now.wall_ms + 60_000
    good = command(wire.SendCanary(), later)
    for sent in (
        good,
        good,
        command(wire.SendCanary(), play.now.wall_ms - 1, b"2" * 16),
        command(wire.SendCanary(), later, b"3" * 16, device=b"other device 123"),
        wire.Command(statement=good.statement, key_id=good.key_id, signature=bytes(64)),
    ):
        play.give(messages.Received(body=sent))
    assert [e.command_id for e in play.done if isinstance(e, messages.Obey)] == [b"1" * 16]
    play.disconnect()
    play.start()
    play.pass_time(10_000)
    play.give(messages.Received(body=good))
    assert len([e for e in play.done if isinstance(e, messages.Obey)]) == 1


def test_signed_time_only_raises_the_floor_and_old_time_changes_nothing() -> None:
    play = connected()
    believed = play.uplink.believed_ms(play.now)
    assert abs(believed - play.now.wall_ms) < 10_000
    old = statements.sign_time("tests", believed - 86_400_000, COMMAND)
    play.give(messages.Received(body=wire.HeartbeatReply(time=old)))
    assert play.uplink.believed_ms(play.now) >= believed
    forged = wire.SignedTime(statement=old.statement, key_id=old.key_id, signature=bytes(64))
    play.give(messages.Received(body=wire.HeartbeatReply(time=forged)))
    assert "not believed" in play.uplink.last_problem


def test_time_that_ran_offline_is_kept_over_a_power_cut() -> None:
    play = connected()
    play.give(messages.Closed(reason="the cable was pulled"))
    before = play.uplink.believed_ms(play.now)
    for _ in range(60):
        play.now_ms += 60_000
        play.give(messages.Tick())
    noted = Memory.from_notes(play.spool.note).floor
    assert before + 45 * 60_000 < noted.signed_ms <= before + 60 * 60_000 + 1_000


def test_reconnecting_waits_longer_each_time_with_jitter_and_a_cap() -> None:
    waits = []
    for seed in range(40):
        play = Play(seed=seed)
        for _ in range(12):
            play.give(messages.Opened())
            play.give(messages.Closed(reason="tests"))
        assert play.connect_after is not None
        waits.append(play.connect_after)
    assert max(waits) <= 300_000
    assert len(set(waits)) > 30


def test_a_goodbye_is_obeyed_and_never_for_ever() -> None:
    play = connected()
    play.give(messages.Received(body=wire.Goodbye(reason="expired", remedy="renew")))
    assert any(isinstance(e, messages.Obey) and isinstance(e.order, wire.RenewCertificate) for e in play.done)
    play.pass_time(60_000)
    play.give(messages.Received(body=wire.Goodbye(reason="revoked", remedy="enrol again")))
    play.pass_time(3 * 3_600_000, step=60_000)
    assert play.uplink.connected


def test_a_heartbeat_never_crosses_a_batch_and_no_batch_crosses_a_heartbeat() -> None:
    """Else the proof in the one's answer would not begin where the other's ended."""
    play = connected(3)
    play.link = ["late"]
    write(play, 1, name="slow")
    play.give(
        messages.SpoolSeen(epoch=play.spool.epoch, cursors=play.spool.cursors(), usage=play.spool.usage())
    )
    sent = [e.message.body for e in play.done if isinstance(e, messages.Send)]
    assert isinstance(sent[-1], wire.Batch)
    play.link = ["late"]
    play.give(messages.Received(body=play._late.popleft()))
    write(play, 1, name="while the heartbeat is out")
    sent = [e.message.body for e in play.done if isinstance(e, messages.Send)]
    assert isinstance(sent[-1], wire.StreamHeartbeat)
    play.give(messages.Received(body=play._late.popleft()))
    assert play.spool.usage().pending_events == 0
    assert play.uplink.proof_failure == ""
