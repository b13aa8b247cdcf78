"""What a rule can ask of an event or of a collector's fact: dotted field names and their values.

Beside the fields of its kind (``application.path``, ``rule.decision``) each has: ``kind``; ``device`` (hexadecimal
id); ``group``; and an event also ``user`` (pseudonym, in hexadecimal), ``user.kind``, ``subject`` ("user:<hex>" for
one person, else "device:<hex>"), ``place``, ``severity`` and ``skew_ms``. Bytes are hexadecimal. What is sealed shows
only that it is there (``words.withheld``), never what it says.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from schoolkeeper_policies.sigma.compile import FieldValue, Scalar
from schoolkeeper_proto import model

FACT_KINDS: Final = frozenset(
    {
        "fact.gap.opened",
        "fact.gap.closed",
        "fact.chain.broken",
        "fact.conflict",
        "fact.clone.seen",
        "fact.frame.refused",
        "fact.ingest.key_missing",
        "fact.proof.failing",
        "fact.proof.recovered",
        "fact.device.evicted",
        "fact.device.silent",
        "fact.device.heard",
        "fact.device.weaker_group",
        "fact.budget.exceeded",
        "fact.rule.disabled",
        "fact.rollout.halted",
        "fact.policy.review-overdue",
        "fact.event.unreadable",
        "fact.notice.failing",
        "fact.ledger.history_lost",
    }
)
EVENT_FIELDS: Final = frozenset(
    {"kind", "device", "group", "user", "user.kind", "subject", "place", "severity", "skew_ms"}
)
FACT_FIELDS: Final = frozenset({"kind", "device", "group", "subject"})
_CLASS_OF: Final = {cls.KIND: cls for cls in model.BODY_CLASSES}
_SEALED_SHOWS: Final = ("withheld", "category", "recipients")


def is_kind(kind: str) -> bool:
    """Whether rules may want this kind: an event's that devices send, or a collector's fact."""
    return kind in FACT_KINDS or (kind in _CLASS_OF and kind != model.Unrecognised.KIND)


@cache
def fields_of(kind: str) -> frozenset[str] | None:
    """Every field a record of this kind may have; None for facts, whose fields are open."""
    if kind in FACT_KINDS:
        return None
    return frozenset(_names(_CLASS_OF[kind], "")) | EVENT_FIELDS


def _names(cls: type, prefix: str) -> list[str]:
    names: list[str] = []
    for name, hint in get_type_hints(cls).items():
        if name == "KIND":
            continue
        nested: Any = next((member for member in _members(hint) if dataclasses.is_dataclass(member)), None)
        if nested is model.SealedField:
            names.extend(f"{prefix}{name}.{shown}" for shown in _SEALED_SHOWS)
        elif nested is not None:
            names.extend(_names(nested, f"{prefix}{name}."))
        else:
            names.append(prefix + name)
    return names


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A device's event as rules see it."""

    event: model.Event
    device_id: bytes
    group: str = ""

    def get(self, field: str, /) -> FieldValue:
        event = self.event
        match field:
            case "kind":
                return event.body.KIND
            case "device":
                return self.device_id.hex()
            case "group":
                return self.group
            case "subject":
                return subject_of(event.user, self.device_id)
            case "user":
                return event.user.pseudonym.hex() or None
            case "user.kind":
                return event.user.kind.value
            case "severity":
                return event.severity.value
            case "skew_ms":
                return event.skew_ms
            case _:
                pass
        found = _walk(event.body, field)
        if field == "place" and found is None:
            return event.place.value
        return found


def subject_of(user: model.UserRef, device_id: bytes) -> str:
    """Whom an event is about: one person, or the device. A shared account is never one child."""
    if user.pseudonym and user.kind in (model.UserKind.PERSON, model.UserKind.LOCAL):
        return f"user:{user.pseudonym.hex()}"
    return f"device:{device_id.hex()}"


def _walk(value: object, field: str) -> FieldValue:
    for part in field.split("."):
        if isinstance(value, model.SealedField) and part not in _SEALED_SHOWS:
            return None
        if not dataclasses.is_dataclass(value) or part not in getattr(value, "__slots__", ()):
            return None
        value = getattr(value, part)
    return _plain(value)


def _plain(value: object) -> FieldValue:
    if isinstance(value, tuple):
        return tuple(_scalar(item) for item in value)
    return _scalar(value)


def _scalar(value: object) -> Scalar:
    match value:
        case bytes():
            return value.hex() or None
        case None | bool() | int() | float():
            return value
        case str():
            return str(value)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class FactRecord:
    """A collector's fact as rules see it; ``kind`` without the leading "fact."."""

    kind: str
    device_id: bytes | None
    fields: Mapping[str, object]
    group: str = ""

    def get(self, field: str, /) -> FieldValue:
        match field:
            case "kind":
                return "fact." + self.kind
            case "device":
                return self.device_id.hex() if self.device_id else None
            case "group":
                return self.group
            case "subject":
                return f"device:{self.device_id.hex()}" if self.device_id else "school"
            case _:
                pass
        value: object = self.fields
        for part in field.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return _plain(tuple(value) if isinstance(value, list) else value)


@dataclass(frozen=True, slots=True)
class MapRecord:
    """A record made of dotted names, as the tests inside rules write them."""

    fields: Mapping[str, FieldValue]

    def get(self, field: str, /) -> FieldValue:
        return self.fields.get(field)


def event_classes() -> tuple[type[model.Body], ...]:
    """Classes of the kinds that rules may want."""
    return tuple(cls for cls in model.BODY_CLASSES if cls is not model.Unrecognised)
