"""One lane of one device within one transaction: its rows, its facts, its chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection

from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.lanes import LaneKey, LaneState, chain_before, chain_following


@dataclass(frozen=True, slots=True)
class Where:
    """One lane within one transaction."""

    school_id: str
    connection: Connection
    changes: Changes
    key: LaneKey
    state: LaneState
    now_ms: int

    def key_values(self) -> tuple[int, bytes, str]:
        return self.key.device_no, self.key.epoch, self.key.lane.value

    def row(self, first: int) -> dict[str, object]:
        return {
            "school_id": self.school_id,
            "device_no": self.key.device_no,
            "epoch": self.key.epoch,
            "lane": self.key.lane.value,
            "first_sequence": first,
        }

    def lane(self, columns: Any) -> tuple[ColumnElement[bool], ...]:
        return (
            columns.school_id == self.school_id,
            columns.device_no == self.key.device_no,
            columns.epoch == self.key.epoch,
            columns.lane == self.key.lane.value,
        )

    def place(self, columns: Any, first: int) -> tuple[ColumnElement[bool], ...]:
        return (*self.lane(columns), columns.first_sequence == first)

    def fact(self, kind: str, first: int, end: int, **more: object) -> None:
        self.changes.fact(
            kind,
            self.key.device_no,
            self.now_ms,
            lane=self.key.lane.value,
            epoch=self.key.epoch.hex(),
            first_sequence=first,
            end_sequence=end,
            **more,
        )

    def check_chain(self, first: int, end: int, before: bytes, after: bytes) -> None:
        """A break is a fact for the detection; what was sent is stored all the same."""
        state = self.state
        expected = state.tails.get(first)
        if expected is None and state.knows(first - 1):
            expected = chain_before(self.connection, self.school_id, self.key, first)
        if expected is not None and expected != before:
            self.fact("chain.broken", first, end, side="before")
        if state.knows(end):
            following = chain_following(self.connection, self.school_id, self.key, end)
            if following is not None and following != after:
                self.fact("chain.broken", first, end, side="after")
