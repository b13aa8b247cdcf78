"""The segment key: in memory only, for at most 15 minutes; after that the device cannot read its own spool back."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import IngestTarget, Owner
from schoolkeeper_proto.sealing import Binding, SegmentSealer

SEGMENT_MS = 15 * 60_000


class SegmentKeeper:
    """Hands out the sealer in use and makes a new one when its time, its epoch or the ingest key is over."""

    def __init__(self, owner: Owner, target: IngestTarget) -> None:
        self._owner = owner
        self._target = target
        self._sealer: SegmentSealer | None = None
        self._opened_ms = 0

    def sealer(self, epoch: bytes, now: Moment) -> SegmentSealer:
        self.forget_old(now)
        if self._sealer is None or self._sealer.segment.epoch != epoch:
            binding = Binding(school_id=self._owner.school_id, device_id=self._owner.device_id, epoch=epoch)
            key = X25519PublicKey.from_public_bytes(self._target.public_key)
            self._sealer = SegmentSealer(binding, key, self._target.key_id, max(0, now.wall_ms))
            self._opened_ms = now.monotonic_ms
        return self._sealer

    def retarget(self, target: IngestTarget) -> None:
        if target != self._target:
            self._target = target
            self.forget()

    def forget_old(self, now: Moment) -> None:
        if not 0 <= now.monotonic_ms - self._opened_ms < SEGMENT_MS:
            self.forget()

    def forget(self) -> None:
        self._sealer = None
