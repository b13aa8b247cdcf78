"""What devices are told once their jobs are decided: acks with proofs, welcomes, heartbeats, pushback."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection

from schoolkeeper_collector.ingest.apply import Applied
from schoolkeeper_collector.ingest.greeting import Greeter
from schoolkeeper_collector.ingest.jobs import Answer, BatchJob, BeatJob, FaultJob, HelloJob, Job
from schoolkeeper_collector.ingest.limits import DailyBudget
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.wire import Disposition

_AGAIN_MS = 5_000
Outcome = Applied | wire.Welcome | wire.Goodbye | int | None


class Answers:
    def __init__(
        self, school_id: str, sequencer: Sequencer, greeter: Greeter, command_signer: statements.Signer
    ) -> None:
        self._school_id = school_id
        self._sequencer = sequencer
        self._greeter = greeter
        self._signer = command_signer

    def build(
        self, connection: Connection, results: list[tuple[Job, Outcome]], now_ms: int
    ) -> list[tuple[Job, Answer]]:
        """After ``Sequencer.finish`` and before the commit; to be sent only after it. One signed time serves all."""
        if not results:
            return []
        signed = statements.sign_time(self._school_id, now_ms, self._signer)
        return [(job, self._one(connection, job, outcome, signed, now_ms)) for job, outcome in results]

    def _one(
        self, connection: Connection, job: Job, outcome: Outcome, time: wire.SignedTime, now_ms: int
    ) -> Answer:
        match job, outcome:
            case BatchJob(), Applied():
                return self._ack(connection, job, outcome, time, now_ms)
            case HelloJob(), wire.Welcome():
                note, proof = self._greeter.proofs(connection, job.peer)
                return (dataclasses.replace(outcome, checkpoint=note, consistency=proof, time=time),)
            case HelloJob(), wire.Goodbye():
                return (outcome,)
            case BeatJob(), _:
                note, proof = self._greeter.proofs(connection, job.peer)
                return (wire.HeartbeatReply(checkpoint=note, consistency=proof, time=time),)
            case FaultJob(), _:
                return (wire.Ack(batch_number=job.number, ranges=job.ranges, time=time),)
            case _:
                return ()

    def _ack(
        self, connection: Connection, job: BatchJob, applied: Applied, time: wire.SignedTime, now_ms: int
    ) -> Answer:
        number, ranges = job.batch.number, tuple(applied.ranges)
        pushback: Answer = ()
        if applied.over_budget:
            lanes = tuple(lane for lane in wire.LANES if lane in applied.over_budget)
            wait = DailyBudget.wait_ms(now_ms)
            pushback = (
                wire.Pushback(retry_after_ms=wait, reason="the day's budget is used up", lanes=lanes),
            )
        if applied.leaf_index < 0:
            return (wire.Ack(batch_number=number, ranges=ranges, time=time), *pushback)
        note, proof = self._greeter.proofs(connection, job.peer)
        ack = wire.Ack(
            batch_number=number,
            ranges=ranges,
            checkpoint=note,
            inclusion=self._sequencer.inclusion(connection, applied.leaf_index),
            time=time,
            consistency=proof,
        )
        return (ack, *pushback)

    def again(self, job: Job, reason: str) -> Answer:
        """Nothing was stored: the device keeps what it has and tries later."""
        match job:
            case BatchJob():
                ranges = tuple(_retry(job, reason))
                ack = wire.Ack(batch_number=job.batch.number, ranges=ranges)
                return (ack, wire.Pushback(retry_after_ms=_AGAIN_MS, reason=reason))
            case FaultJob():
                return (wire.Ack(batch_number=job.number, ranges=job.ranges),)
            case HelloJob():
                return (wire.Goodbye(reason="shutdown", remedy=reason, retry_after_ms=_AGAIN_MS),)
            case _:
                return ()


def _retry(job: BatchJob, reason: str) -> list[wire.RangeDisposition]:
    return [
        wire.RangeDisposition(
            epoch=job.batch.epoch,
            lane=frame.claim.lane,
            first_sequence=frame.claim.first,
            count=frame.claim.count,
            disposition=Disposition.RETRY,
            reason=reason,
        )
        for frame in job.batch.frames
    ]
