"""Plays an uplink against a spool and a collector, step by step, with a link that fails on order."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from fakes.collector import DEVICE, KEYS, FakeCollector
from fakes.memory_spool import MemorySpool
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import Spool
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.cutting import DeviceIdentity
from schoolkeeper_agent.uplink.machine import Uplink
from schoolkeeper_agent.uplink.standing import InForce, Memory
from schoolkeeper_proto import model, wire
from support.spools import OWNER, TARGET, moment

IDENTITY = DeviceIdentity(
    school_id=OWNER.school_id, device_id=OWNER.device_id, certificate_hash=b"h" * 32, signer=DEVICE
)


@dataclass
class Play:
    """``link`` decides each message's fate: "", "drop", "twice", "late" or "cut"."""

    collector: FakeCollector = field(default_factory=FakeCollector)
    spool: Spool = field(default_factory=lambda: MemorySpool(OWNER, TARGET))
    seed: int = 1
    link: list[str] = field(default_factory=list)
    reports: list[model.Body] = field(default_factory=list)
    done: list[messages.Effect] = field(default_factory=list)
    connect_after: int | None = None
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new run of the service over the same spool."""
        self.uplink = Uplink(
            IDENTITY,
            KEYS,
            "group",
            InForce(boot_id=b"b" * 16),
            Memory.from_notes(self.spool.note),
            random.Random(self.seed).random,
        )
        self.connected = False
        self._late: deque[wire.CollectorBody] = deque()
        self.perform(self.uplink.start())

    @property
    def now(self) -> Moment:
        return moment(self.now_ms)

    def give(self, item: messages.Input) -> None:
        self.perform(self.uplink.handle(item, self.now))

    def connect(self) -> None:
        self.connect_after, self.connected = None, True
        self.give(messages.Opened())

    def disconnect(self, reason: str = "tests", *, too_large: bool = False) -> None:
        self.connected = False
        self._late.clear()
        self.give(messages.Closed(reason=reason, too_large=too_large))

    def pass_time(self, milliseconds: int, step: int = 5_000) -> None:
        end = self.now_ms + milliseconds
        while self.now_ms < end:
            self.now_ms = min(end, self.now_ms + step)
            if self.connect_after is not None and self.now_ms >= self.connect_after:
                self.connect()
            while self._late:
                self.give(messages.Received(body=self._late.popleft()))
            self.give(messages.Tick())

    def perform(self, effects: list[messages.Effect]) -> None:
        for effect in effects:
            self.done.append(effect)
            match effect:
                case messages.Connect(after_ms=after):
                    self.connect_after = self.now_ms + after
                case messages.Disconnect(reason=reason):
                    self.disconnect(reason)
                case messages.Send(message=message):
                    self._send(message)
                case messages.LookAtSpool():
                    self.give(
                        messages.SpoolSeen(
                            epoch=self.spool.epoch, cursors=self.spool.cursors(), usage=self.spool.usage()
                        )
                    )
                case messages.ReadFrames(wanted=wanted):
                    self.give(messages.FramesRead(reading=self.spool.read(wanted)))
                case messages.Settle(settlement=settlement):
                    self.spool.settle(settlement, self.now)
                case messages.OpenEpoch(because=because):
                    self.give(messages.EpochOpened(epoch=self.spool.new_epoch(because, self.now)))
                case messages.SendAgain(held=held):
                    self.spool.send_again(held)
                    self.give(messages.FramesWritten())
                case messages.Report(body=body):
                    self.reports.append(body)
                case _:
                    pass

    def _send(self, message: wire.DeviceMessage) -> None:
        if not self.connected:
            return
        fate = self.link.pop(0) if self.link else ""
        if fate == "cut":
            self.disconnect("the link broke")
            return
        answers = [] if fate == "drop" else self.collector.answer(message, self.now.wall_ms)
        if fate == "twice":
            answers += self.collector.answer(message, self.now.wall_ms)
        if fate == "late":
            self._late.extend(answers)
            return
        if fate == "crash":  # the collector committed and died before it answered
            self.disconnect("the collector crashed")
            return
        for body in answers:
            if self.connected:
                self.give(messages.Received(body=body))
