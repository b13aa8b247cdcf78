"""What was on the wire when version 1 was fixed is still read, by both sides, to the letter."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from schoolkeeper_proto import bundle, checkpoint, model, policy, sealing, statements, wire
from schoolkeeper_proto.codec import decode, encode, kind_name, kind_number, summarise

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors.json").read_text())
KINDS = [cls for cls in model.BODY_CLASSES if cls is not model.Unrecognised]


LATER: dict[type[model.Body], dict[str, object]] = {
    model.IsolationChanged: {"grant_id": b"", "what": "", "state": "", "until_unix_ms": 0},
    model.PersonReport: {"who": None},
    model.AcceptableUseShown: {"text_sha256": b""},
    model.AcceptableUseAccepted: {"age_band": "", "language": "", "text_sha256": b""},
    model.ApplicationStarted: {"ended": False},
}
"""Fields that came after version 1 was fixed: an event of then has their defaults."""


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", HERE / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _maker()


def raw(name: str) -> bytes:
    return bytes.fromhex(VECTORS["sealed"][name])


@pytest.mark.parametrize("cls", KINDS, ids=lambda cls: cls.KIND)
def test_every_kind_is_read_and_written_as_it_was(cls: type[model.Body]) -> None:
    data = bytes.fromhex(VECTORS["events"][cls.KIND])
    then = dataclasses.replace(MAKER.sample(cls), **LATER.get(cls, {}))
    assert decode(model.Event, data) == MAKER.event(then)
    assert encode(decode(model.Event, data)) == data
    assert summarise(data).kind == cls.KIND


def test_every_vector_has_its_kind() -> None:
    assert set(VECTORS["events"]) == {cls.KIND for cls in KINDS}


def test_a_frame_of_old_opens() -> None:
    segment = decode(wire.Segment, raw("segment"))
    frame = decode(wire.Frame, raw("frame"))
    opener = sealing.SegmentOpener(segment, MAKER.BINDING, MAKER.INGEST_KEY)
    opened = opener.open(frame, sealing.read_header(frame))
    assert len(opened.events) == 20
    assert decode(model.Event, opened.events[3][1]).body == model.Canary(canary_id=b"\x03" * 16)
    assert statements.chain_value(frame.header).hex() == VECTORS["sealed"]["chain"]


def test_a_batch_statement_of_old_verifies() -> None:
    entry = decode(wire.LedgerEntry, raw("entry"))
    (signature,) = entry.signatures
    key = MAKER.DEVICE_KEY.public_key()
    statements.verify(statements.BATCH, entry.statement, signature.signature, key)
    assert signature.key_id == statements.key_id_of(key)
    assert decode(wire.BatchStatement, entry.statement).runs[0].counts == (20,)
    assert statements.leaf_bytes(entry) == raw("entry")


def test_a_checkpoint_and_a_bundle_of_old_verify() -> None:
    public = MAKER.LEDGER_KEY.public_key().public_bytes_raw()
    assert checkpoint.verify(VECTORS["sealed"]["checkpoint"], [public]).size == 1
    opened = bundle.open_bundle(
        raw("bundle"), school_id="golden.example", group="golden-group", capabilities=frozenset()
    )
    # Fields that came later have their defaults: not safeguarding, no exceptions, every day, only idle time locks.
    today = MAKER.sample(policy.ScreenSection)
    then = dataclasses.replace(
        today,
        text=dataclasses.replace(today.text, safeguarding=False),
        when=dataclasses.replace(today.when, exceptions=(), days=()),
        lock_on_lid=False,
        tokens=(),
        end_unlocked_seconds=0,
        hold_media=False,
    )
    assert opened.screen == then
    assert decode(policy.KeyStatement, raw("keys")) == MAKER.sample(policy.KeyStatement)


# ---- one minor version up and down ------------------------------------------------------------------------

NEW_FIELD = b"\xfa\x3e\x05later"  # field 1007, five bytes
NEW_BODY = b"\xca\x3e\x00"  # field 1001, an empty message


def test_a_field_of_a_later_version_is_read_past_and_its_bytes_stay() -> None:
    data = bytes.fromhex(VECTORS["events"]["heartbeat"])
    assert decode(model.Event, data + NEW_FIELD) == decode(model.Event, data)
    # What is stored and proved are the bytes, so the later field survives storage and export.
    sealer = sealing.SegmentSealer(MAKER.BINDING, MAKER.INGEST_KEY.public_key(), b"id", 0)
    sealed = sealer.seal(wire.Lane.NORMAL, 0, wire.CHAIN_START, [data + NEW_FIELD])
    opened = sealing.SegmentOpener(sealer.segment, MAKER.BINDING, MAKER.INGEST_KEY).open(
        sealed.frame, sealed.header
    )
    assert opened.events[0][1] == data + NEW_FIELD


def test_an_event_of_a_later_kind_is_unrecognised_and_not_lost() -> None:
    bare = encode(MAKER.event(model.Canary(canary_id=b"x")))
    canary = encode(model.Canary(canary_id=b"x"))
    head = bare[: bare.index(canary) - 3]
    later = head + NEW_BODY
    assert decode(model.Event, later).body == model.Unrecognised()
    assert summarise(later).kind == "unrecognised"


def test_an_enumeration_value_of_a_later_version_is_unspecified() -> None:
    posture = encode(model.Posture(check="x", result=model.PostureResult.FAIL))
    later = posture.replace(b"\x10\x02", b"\x10\x63")
    assert decode(model.Posture, later).result is model.PostureResult.UNSPECIFIED


def test_numbers_of_kinds_are_those_of_the_wire() -> None:
    assert kind_number("heartbeat") == 20
    assert kind_number("application.refused") == 31
    assert kind_number("canary") == 131
    assert all(kind_name(kind_number(cls.KIND)) == cls.KIND for cls in KINDS)
