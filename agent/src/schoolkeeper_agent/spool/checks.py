"""Check values for rows that no hash of their own protects: epochs, heads of lanes, notes, counters, eviction records.

A bit that flips in a frame is seen by its CRC and by the lane's chain. One that flips in an epoch would seal nothing
that the collector can open, one in a lane's head would give sequences out twice or skip some, and one in a counter or a
record would tell a wrong number of lost events: all unseen.
"""

from __future__ import annotations

import zlib

from schoolkeeper_agent.spool.contract import Owner

_CHAIN = 32
EPOCH_NOTE = "check-of-epoch-"
"""With the epoch's number behind it: the note that holds the epoch's check value."""


def blob(value: object) -> bytes:
    """The bytes of a column; raises ``TypeError`` for anything else (``bytes`` would make zeros of a number)."""
    if not isinstance(value, bytes):
        raise TypeError(f"bytes were written, {type(value).__name__} was read")
    return value


def whole(value: object) -> int:
    """A whole number from 0 on; raises ``TypeError`` or ``ValueError``."""
    if not isinstance(value, int):
        raise TypeError(f"a number was written, {type(value).__name__} was read")
    if value < 0:
        raise ValueError(f"a number from 0 on was written, {value} was read")
    return value


def row(*values: int | str | bytes) -> int:
    """The CRC of a row's values, each with its kind and its length before it."""
    crc = 0
    for value in values:
        raw = value if isinstance(value, bytes) else str(value).encode()
        crc = zlib.crc32(type(value).__name__.encode() + len(raw).to_bytes(4, "big") + raw, crc)
    return crc


def head(epoch_no: int, lane: int, next_sequence: int, chain: bytes) -> bytes:
    """What the column ``lanes.chain`` holds: the chain's value with the check of the whole row behind it."""
    whole_row = f"{epoch_no} {lane} {next_sequence} ".encode() + chain
    return chain + zlib.crc32(whole_row).to_bytes(4, "big")


def chain_of(epoch_no: int, lane: int, next_sequence: object, stored: object) -> bytes:
    """The chain's value; raises ``TypeError`` or ``ValueError`` for a row that is not as it was written."""
    chain = blob(stored)[:_CHAIN]
    if head(epoch_no, lane, whole(next_sequence), chain) != stored:
        raise ValueError(f"the head of lane {lane} in epoch {epoch_no} is not as it was written")
    return chain


def of_epoch(epoch_no: int, epoch: bytes, owner: Owner) -> bytes:
    whole_row = b"\0".join(
        (str(epoch_no).encode(), epoch, owner.school_id.encode(), owner.device_id, owner.machine_hash)
    )
    return zlib.crc32(whole_row).to_bytes(4, "big")
