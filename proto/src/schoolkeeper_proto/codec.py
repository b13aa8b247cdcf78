"""Bytes to values and back: the only importer of the generated message classes.

Every class of ``model.py``, ``wire.py`` and ``policy.py`` has a message of the same name with the same field
names; a plan per class is built once from both descriptions, so that a field that exists on one side only is
found at import and not in a school. Values of enumerations that this side does not know become
``UNSPECIFIED``, an unknown kind of event ``Unrecognised``; the bytes they came from are what is stored.
"""

from __future__ import annotations

import dataclasses
import operator
import re
import types
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message

from schoolkeeper_proto import model, policy, wire
from schoolkeeper_proto.v1 import enrolment_pb2, event_pb2, policy_pb2, uplink_pb2

T = TypeVar("T")


class WireFormatError(ValueError):
    """Bytes that are not the message they should be; names the message and what is wrong with it."""


def encode(value: object) -> bytes:
    """The protobuf bytes of a value of ``model``, ``wire`` or ``policy``; the same value gives the same bytes.

    Raises ``WireFormatError`` for a value that does not fit its field, naming it.
    """
    return _to_message(value).SerializeToString(deterministic=True)


def decode(cls: type[T], data: bytes) -> T:
    """The value of class ``cls`` that ``data`` holds; raises ``WireFormatError`` for bytes that hold none."""
    plan = _plan(cls)
    message = plan.message_class()
    try:
        message.ParseFromString(data)
    except ProtobufDecodeError as error:
        raise WireFormatError(f"not a {cls.__name__}: {error}") from error
    return cast(T, plan.to_value(message))


@dataclasses.dataclass(frozen=True, slots=True)
class EventSummary:
    """What ingest files an event under, read without building the event; times in Unix milliseconds."""

    id: bytes
    kind: str
    wall_unix_ms: int
    severity: int
    user: bytes
    skew_ms: int | None


def split_payload(payload: bytes) -> list[tuple[bytes, bytes]]:
    """(salt, event bytes) of each event of a serialised ``FramePayload``, in order."""
    message = uplink_pb2.FramePayload()
    try:
        message.ParseFromString(payload)
    except ProtobufDecodeError as error:
        raise WireFormatError(f"not a FramePayload: {error}") from error
    return [(record.salt, record.event) for record in message.events]


def join_payload(records: list[tuple[bytes, bytes]]) -> bytes:
    """The serialised ``FramePayload`` of (salt, event bytes) pairs."""
    message = uplink_pb2.FramePayload()
    for salt, event in records:
        message.events.add(salt=salt, event=event)
    return message.SerializeToString()


def summarise(event: bytes) -> EventSummary:
    """The narrow view of a serialised ``Event``; raises ``WireFormatError`` if it is none."""
    message = event_pb2.Event()
    try:
        message.ParseFromString(event)
    except ProtobufDecodeError as error:
        raise WireFormatError(f"not an Event: {error}") from error
    if len(message.id) != 16:
        raise WireFormatError(f"Event.id must be 16 bytes, it has {len(message.id)}")
    return EventSummary(
        id=message.id,
        kind=_KIND_OF_FIELD.get(message.WhichOneof("body") or "", model.Unrecognised.KIND),
        wall_unix_ms=message.wall_unix_ms,
        severity=message.severity,
        user=message.user.pseudonym,
        skew_ms=message.skew_ms if message.HasField("skew_ms") else None,
    )


class Glimpse(NamedTuple):
    """What a rehearsal of a policy needs of an event, and nothing else of it; a tuple, for it reads a million.

    ``what`` is (path, SHA-256 in hexadecimal, package), or (serial, vendor, product, bus, encryption) of a medium.
    ``times``, ``hour_ms``, ``first_ms`` and ``aggregate`` are of usage.
    """

    kind: str
    place: str
    person: bytes
    what: tuple[str, ...]
    times: int = 1
    hour_ms: int = 0
    first_ms: int = 0
    aggregate: bytes = b""


def glimpse(event: bytes) -> Glimpse | None:
    """A start, a refusal, an hour's usage or a medium, read without building the event; None for another kind."""
    message = event_pb2.Event()
    try:
        message.ParseFromString(event)
    except ProtobufDecodeError as error:
        raise WireFormatError(f"not an Event: {error}") from error
    field = message.WhichOneof("body")
    kind = _KIND_OF_FIELD.get(field or "")
    if kind not in GLIMPSED:
        return None
    body = getattr(message, cast(str, field))
    place = _PLACES.get(message.place, "unknown")
    person = message.user.pseudonym
    if kind == model.MediumAttached.KIND:
        medium = body.medium
        encryption = _ENCRYPTIONS.get(medium.encryption, "unknown")
        key = medium.serial, medium.vendor_id, medium.product_id, medium.bus, encryption
        return Glimpse(kind, place, person, key)
    application = body.application
    sha256 = application.sha256
    what = application.path, sha256.hex() if sha256 else "", application.package
    if kind != model.ApplicationUsage.KIND:
        return Glimpse(kind, place, person, what)
    first, hour = body.first_start_unix_ms, body.hour_start_unix_ms
    return Glimpse(kind, place, person, what, body.starts, hour, first, body.aggregate_id)


GLIMPSED = frozenset(
    cls.KIND
    for cls in (
        model.ApplicationStarted,
        model.ApplicationRefused,
        model.ApplicationUsage,
        model.MediumAttached,
    )
)

# ---- plans ----------------------------------------------------------------------------------------

_MODULES = (event_pb2, uplink_pb2, enrolment_pb2, policy_pb2)
_Setter = Callable[[Any, Any], None] | None
"""None: the value is set as it is."""
_Getter = Callable[[Any], Any]


@dataclasses.dataclass(slots=True)
class _Plan:
    """How one class maps onto its message: setters and getters per field, in field order.

    A setter's flag says whether the field has presence: then 0 and the empty text are sent, otherwise they are what a
    field that is not sent means. ``read`` takes all fields of a value at once. An agent runs ``fill`` for every event.
    """

    cls: type
    message_class: type[Message]
    setters: list[tuple[str, _Setter, bool]]
    getters: list[tuple[str, _Getter]]
    read: Callable[[Any], tuple[Any, ...]] = lambda _: ()

    def fill(self, value: object, message: Message) -> None:
        name = ""
        try:
            for item, (name, setter, presence) in zip(self.read(value), self.setters, strict=True):
                if not item and (item is None or not presence):
                    continue
                if setter is None:
                    setattr(message, name, item)
                else:
                    setter(message, item)
        except (TypeError, ValueError, KeyError) as error:
            raise WireFormatError(f"{self.cls.__name__}.{name}: {error}") from error

    def to_value(self, message: Message) -> object:
        return self.cls(**{name: getter(message) for name, getter in self.getters})


_PLANS: dict[type, _Plan] = {}


def _message_class(name: str) -> type[Message]:
    for module in _MODULES:
        found = getattr(module, name, None)
        if found is not None:
            return cast(type[Message], found)
    raise LookupError(f"no message named {name} in the generated code")


def _plan(cls: type) -> _Plan:
    plan = _PLANS.get(cls)
    if plan is None:
        plan = _PLANS[cls] = _Plan(cls, _message_class(cls.__name__), [], [])
        _build(plan)
    return plan


def _build(plan: _Plan) -> None:
    descriptor = plan.message_class.DESCRIPTOR
    oneofs = {o.name: o for o in descriptor.oneofs if not o.name.startswith("_")}
    in_oneofs = {field.name for o in oneofs.values() for field in o.fields}
    hints = get_type_hints(plan.cls)
    names = [field.name for field in dataclasses.fields(plan.cls)]
    expected = {field.name for field in descriptor.fields} - in_oneofs | set(oneofs)
    if set(names) != expected:
        raise LookupError(f"{plan.cls.__name__} and its message differ in {set(names) ^ expected}")
    for name in names:
        if name in oneofs:
            setter, getter = _oneof(oneofs[name], hints[name])
            presence = True
        else:
            field = descriptor.fields_by_name[name]
            setter, getter = _field(field, hints[name])
            presence = field.has_presence
        plan.setters.append((name, setter, presence))
        plan.getters.append((name, getter))
    plan.read = _reader(names)


def _reader(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union without None, or the one type."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for member in get_args(hint) if member is not type(None))
    return (hint,)


def _field(field: Any, hint: Any) -> tuple[_Setter, _Getter]:
    optional = type(None) in get_args(hint)
    (member,) = _members(hint)
    if get_origin(member) is tuple:
        return _repeated(field.name, get_args(member)[0])
    if isinstance(member, type) and dataclasses.is_dataclass(member):
        return _nested(field.name, member, optional=optional)
    if isinstance(member, type) and issubclass(member, StrEnum):
        return _enumeration(field.name, member)
    return _scalar(field.name, optional=optional)


def _scalar(name: str, *, optional: bool) -> tuple[_Setter, _Getter]:
    def get_optional(message: Any) -> Any:
        return getattr(message, name) if message.HasField(name) else None

    def get(message: Any) -> Any:
        return getattr(message, name)

    return None, get_optional if optional else get


def _enumeration(name: str, enum: type[StrEnum]) -> tuple[_Setter, _Getter]:
    to_number, to_member = _enum_tables(enum)
    fallback = enum("unspecified")

    def put(message: Any, value: Any) -> None:
        setattr(message, name, to_number[value])

    def get(message: Any) -> Any:
        return to_member.get(getattr(message, name), fallback)

    return put, get


def _nested(name: str, cls: type, *, optional: bool) -> tuple[_Setter, _Getter]:
    plan = _plan(cls)

    def put(message: Any, value: Any) -> None:
        child = getattr(message, name)
        child.SetInParent()
        plan.fill(value, child)

    def get(message: Any) -> Any:
        if optional and not message.HasField(name):
            return None
        return plan.to_value(getattr(message, name))

    return put, get


def _repeated(name: str, item: Any) -> tuple[_Setter, _Getter]:
    if dataclasses.is_dataclass(item):
        plan = _plan(cast(type, item))

        def put_messages(message: Any, values: Any) -> None:
            target = getattr(message, name)
            for value in values:
                plan.fill(value, target.add())

        def get_messages(message: Any) -> Any:
            return tuple(plan.to_value(child) for child in getattr(message, name))

        return put_messages, get_messages
    if isinstance(item, type) and issubclass(item, StrEnum):
        to_number, to_member = _enum_tables(item)
        fallback = item("unspecified")

        def put_enums(message: Any, values: Any) -> None:
            getattr(message, name).extend(to_number[value] for value in values)

        def get_enums(message: Any) -> Any:
            return tuple(to_member.get(number, fallback) for number in getattr(message, name))

        return put_enums, get_enums

    def put(message: Any, values: Any) -> None:
        getattr(message, name).extend(values)

    def get(message: Any) -> Any:
        return tuple(getattr(message, name))

    return put, get


def _oneof(oneof: Any, hint: Any) -> tuple[_Setter, _Getter]:
    """A oneof of messages is a union of classes; none set is ``Unrecognised`` where the union has it, else None."""
    members = _members(hint)
    by_message = {field.message_type.name: field.name for field in oneof.fields}
    unknown = [m for m in members if m.__name__ not in by_message]
    if unknown not in ([], [model.Unrecognised]) or len(by_message) != len(members) - len(unknown):
        raise LookupError(f"the oneof {oneof.full_name} and its union differ")
    absent = unknown[0]() if unknown else None
    plans = {by_message[m.__name__]: _plan(m) for m in members if m not in unknown}
    field_of = {m: by_message[m.__name__] for m in members if m not in unknown}

    def put(message: Any, value: Any) -> None:
        if type(value) not in field_of:
            raise ValueError(f"{type(value).__name__} cannot be sent")
        name = field_of[type(value)]
        child = getattr(message, name)
        child.SetInParent()
        plans[name].fill(value, child)

    def get(message: Any) -> Any:
        name = message.WhichOneof(oneof.name)
        return absent if name is None else plans[name].to_value(getattr(message, name))

    return put, get


def _enum_tables(enum: type[StrEnum]) -> tuple[dict[StrEnum, int], dict[int, StrEnum]]:
    for module in _MODULES:
        descriptor = module.DESCRIPTOR.enum_types_by_name.get(enum.__name__)
        if descriptor is not None:
            prefix = _snake(enum.__name__).upper() + "_"
            numbers = {v.name.removeprefix(prefix): v.number for v in descriptor.values}
            wanted = {member: member.value.upper().replace("-", "_") for member in enum}
            if set(numbers) != set(wanted.values()):
                raise LookupError(f"enum {enum.__name__} differs: {set(numbers) ^ set(wanted.values())}")
            to_number = {member: numbers[name] for member, name in wanted.items()}
            return cast(dict[StrEnum, int], to_number), {n: m for m, n in to_number.items()}
    raise LookupError(f"no enum named {enum.__name__} in the generated code")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _to_message(value: object) -> Message:
    plan = _plan(type(value))
    message = plan.message_class()
    plan.fill(value, message)
    return message


def value_classes() -> tuple[type, ...]:
    """Every class this codec can carry, for tests that try them all."""
    found: list[type] = []
    for module in (model, wire, policy):
        for candidate in vars(module).values():
            if (
                isinstance(candidate, type)
                and dataclasses.is_dataclass(candidate)
                and candidate.__module__ == module.__name__
                and candidate is not model.Unrecognised
            ):
                found.append(candidate)
    return tuple(found)


def kind_number(kind: str) -> int:
    """The number of a kind on the wire, under which narrow rows file it; raises ``KeyError``. 0 is unrecognised."""
    return _NUMBER_OF_KIND[kind]


def kind_name(number: int) -> str:
    """The stable name of a kind's number; ``unrecognised`` for one that this side does not know."""
    return _KIND_OF_NUMBER.get(number, model.Unrecognised.KIND)


_KIND_OF_FIELD: dict[str, str] = {}
_NUMBER_OF_KIND: dict[str, int] = {model.Unrecognised.KIND: 0}
for _class in model.BODY_CLASSES:
    for _member in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields:
        if _member.message_type is not None and _member.message_type.name == _class.__name__:
            _KIND_OF_FIELD[_member.name] = _class.KIND
            _NUMBER_OF_KIND[_class.KIND] = _member.number
_KIND_OF_NUMBER = {number: kind for kind, number in _NUMBER_OF_KIND.items()}
_PLACES = {number: str(place) for number, place in _enum_tables(model.Place)[1].items()}
_ENCRYPTIONS = {number: str(one) for number, one in _enum_tables(model.MediumEncryption)[1].items()}
