"""Frames and sealed fields open for whom they were meant, whole, and for nobody else."""

from __future__ import annotations

import dataclasses
import os
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import model, sealing, wire
from schoolkeeper_proto.codec import decode, encode

BINDING = sealing.Binding(school_id="westgate.example", device_id=b"d" * 16, epoch=b"e" * 16)
KEY = X25519PrivateKey.generate()


def sealer() -> sealing.SegmentSealer:
    return sealing.SegmentSealer(BINDING, KEY.public_key(), b"k" * 32, 1_000)


def frame_of(
    events: list[bytes], lane: wire.Lane = wire.Lane.NORMAL
) -> tuple[wire.Segment, sealing.SealedFrame]:
    segment = sealer()
    return segment.segment, segment.seal(lane, 7, wire.CHAIN_START, events)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=3_000), min_size=1, max_size=40), st.sampled_from(wire.LANES))
def test_a_frame_opens_to_what_was_sealed(events: list[bytes], lane: wire.Lane) -> None:
    segment, sealed = frame_of(events, lane)
    opened = sealing.SegmentOpener(segment, BINDING, KEY).open(
        sealed.frame, sealing.read_header(sealed.frame)
    )
    assert [event for _, event in opened.events] == events
    assert len({salt for salt, _ in opened.events}) == len(events)
    assert opened.header == sealed.header


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_altered_frame_opens(data: st.DataObject) -> None:
    segment, sealed = frame_of([b"x" * 2_000, b"y"])
    which = data.draw(st.sampled_from(["header", "ciphertext"]))
    raw = getattr(sealed.frame, which)
    at = data.draw(st.integers(0, len(raw) - 1))
    altered = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    frame = dataclasses.replace(sealed.frame, **{which: altered})
    with pytest.raises(sealing.SealingError):
        sealing.SegmentOpener(segment, BINDING, KEY).open(frame, sealing.read_header(frame))


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BINDING, device_id=b"x" * 16),
        dataclasses.replace(BINDING, school_id="other.example"),
        dataclasses.replace(BINDING, epoch=b"x" * 16),
    ],
)
def test_a_segment_of_another_device_school_or_epoch_does_not_open(other: sealing.Binding) -> None:
    segment, _ = frame_of([b"x"])
    with pytest.raises(sealing.SealingError, match="other device, school, epoch"):
        sealing.SegmentOpener(segment, other, KEY)


def test_a_decompression_bomb_is_bounded_by_its_own_header() -> None:
    segment, sealed = frame_of([b"\0" * 60_000] * 10)
    lying = dataclasses.replace(sealed.header, plain_size=100)
    with pytest.raises(sealing.SealingError, match="its header says 100"):
        sealing._decompress(
            sealing._compress(b"\0" * 600_000)[0],
            dataclasses.replace(lying, compression=wire.Compression.ZSTD),
        )
    huge = dataclasses.replace(sealed.header, plain_size=sealing.MAX_FRAME_BYTES + 1)
    with pytest.raises(sealing.SealingError, match="are allowed"):
        sealing.check_header(huge)
    assert segment.epoch == BINDING.epoch


def test_frames_that_cannot_be_are_refused_when_sealed() -> None:
    segment = sealer()
    with pytest.raises(sealing.SealingError, match="1 to"):
        segment.seal(wire.Lane.BULK, 0, wire.CHAIN_START, [])
    with pytest.raises(sealing.SealingError, match="bytes of events"):
        segment.seal(wire.Lane.BULK, 0, wire.CHAIN_START, [b"x" * 60_000] * 20)


# ---- sealed fields ------------------------------------------------------------------------------------


CONTEXT = sealing.FieldContext(binding=BINDING, event_id=b"i" * 16, category="report")


def people(count: int) -> tuple[list[X25519PrivateKey], list[sealing.Recipient]]:
    keys = [X25519PrivateKey.generate() for _ in range(count)]
    return keys, [
        sealing.Recipient(name=f"officer-{n}", public_key=k.public_key()) for n, k in enumerate(keys)
    ]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_two_open_and_no_one_alone(count: int) -> None:
    keys, recipients = people(count)
    field = sealing.seal_field(b"evidence", model.SealingScheme.ANY_TWO, recipients, CONTEXT)
    field = decode(model.SealedField, encode(field))
    ids = [recipient.key_id for recipient in recipients]
    for a, v in permutations(range(count), 2):
        inner = sealing.approve(field, CONTEXT, keys[a], ids[v])
        content = sealing.view_key(inner, field, CONTEXT, keys[v], ids[a])
        assert sealing.open_field(field, CONTEXT, content) == b"evidence"
        with pytest.raises(sealing.SealingError):
            sealing.view_key(inner, field, CONTEXT, keys[a], ids[a])
        with pytest.raises(sealing.SealingError):
            sealing.view_key(inner, field, CONTEXT, keys[v], ids[v])
        with pytest.raises(sealing.SealingError):
            sealing.approve(field, CONTEXT, keys[a], ids[a])
        with pytest.raises(sealing.SealingError):
            sealing.unwrap_key(field, CONTEXT, keys[a])


def test_any_one_of_the_named_opens_and_a_stranger_does_not() -> None:
    keys, recipients = people(3)
    field = sealing.seal_field(b"words", model.SealingScheme.ANY_ONE, recipients[:2], CONTEXT)
    for key in keys[:2]:
        assert sealing.open_field(field, CONTEXT, sealing.unwrap_key(field, CONTEXT, key)) == b"words"
    with pytest.raises(sealing.SealingError, match="not sealed to this key"):
        sealing.unwrap_key(field, CONTEXT, keys[2])


def test_a_field_opens_in_its_own_context_only() -> None:
    keys, recipients = people(1)
    field = sealing.seal_field(b"words", model.SealingScheme.COLLECTOR, recipients, CONTEXT)
    elsewhere = dataclasses.replace(CONTEXT, event_id=b"j" * 16)
    with pytest.raises(sealing.SealingError):
        sealing.unwrap_key(field, elsewhere, keys[0])
    content = sealing.unwrap_key(field, CONTEXT, keys[0])
    with pytest.raises(sealing.SealingError):
        sealing.open_field(dataclasses.replace(field, ciphertext=os.urandom(40)), CONTEXT, content)
    with pytest.raises(sealing.SealingError, match="commitment"):
        sealing.open_field(field, CONTEXT, os.urandom(32))


@pytest.mark.parametrize(
    ("scheme", "count"),
    [(model.SealingScheme.ANY_TWO, 1), (model.SealingScheme.ANY_TWO, 0), (model.SealingScheme.ANY_ONE, 0)],
)
def test_with_too_few_officers_nothing_is_collected(scheme: model.SealingScheme, count: int) -> None:
    field = sealing.seal_field(b"evidence", scheme, people(count)[1], CONTEXT)
    assert field.withheld
    assert field.ciphertext == b""
    assert field.wraps == ()


def test_one_person_listed_twice_is_not_two() -> None:
    _, recipients = people(1)
    twice = [recipients[0], dataclasses.replace(recipients[0], name="also me")]
    assert sealing.seal_field(b"evidence", model.SealingScheme.ANY_TWO, twice, CONTEXT).withheld
