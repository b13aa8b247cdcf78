"""What a person wrote in a report, where the collector may open it; else why not, and who can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_collector.detection.source import ReadEvent
from schoolkeeper_collector.incidents.model import ReportedWords
from schoolkeeper_proto import model
from schoolkeeper_proto.sealing import Binding, FieldContext, SealingError, open_field, unwrap_key


class OpensWords(Protocol):
    """Opens a field that is sealed to the collector; raises ``SealingError``."""

    def open(self, field: model.SealedField, context: FieldContext) -> bytes: ...


class IngestKeys:
    """The collector's own keys, retired ones included."""

    def __init__(self, keys: Iterable[X25519PrivateKey]) -> None:
        self._keys = tuple(keys)

    def open(self, field: model.SealedField, context: FieldContext) -> bytes:
        for key in self._keys:
            try:
                return open_field(field, context, unwrap_key(field, context, key))
            except SealingError:
                continue
        raise SealingError("no key of this collector opens it")


def reported_words(
    stored: ReadEvent, school_id: str, device_id: bytes, opener: OpensWords | None
) -> ReportedWords | None:
    """The words of a person's report; None for another kind of event."""
    body = stored.event.body
    if not isinstance(body, model.PersonReport):
        return None
    text, because = _text(body.words, stored, school_id, device_id, opener)
    who = _text(body.who, stored, school_id, device_id, opener)[0] if body.who is not None else None
    return ReportedWords(
        event_no=stored.event_no,
        recipient=body.recipient,
        category=body.category,
        urgent=body.urgent,
        reference=body.reference,
        text=text,
        because=because,
        who=who or "",
    )


def _text(
    words: model.SealedField | None,
    stored: ReadEvent,
    school_id: str,
    device_id: bytes,
    opener: OpensWords | None,
) -> tuple[str | None, str]:
    if words is None:
        return None, "The person wrote no words."
    if words.withheld:
        return None, "The words were not collected: too few of the named persons had keys at the time."
    if words.scheme is not model.SealingScheme.COLLECTOR:
        who = ", ".join(words.recipients) or "the named persons"
        how = "save the proof of this event below and give it to `schoolkeeper-officer open-report`"
        return None, f"The words are sealed: {who} can open them: {how}."
    if opener is None:
        return None, "The words are sealed to the collector, and this page runs without its keys."
    binding = Binding(school_id=school_id, device_id=device_id, epoch=stored.epoch)
    context = FieldContext(binding=binding, event_id=stored.event.id, category=words.category)
    try:
        return opener.open(words, context).decode("utf-8", errors="replace"), ""
    except SealingError as error:
        return None, f"The words cannot be opened: {error}."
