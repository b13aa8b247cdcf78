"""Every class the codec carries survives the way to bytes and back, and nothing strange comes of strange bytes."""

from __future__ import annotations

import dataclasses
import types
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import codec, model
from schoolkeeper_proto.v1 import enrolment_pb2, event_pb2, policy_pb2, uplink_pb2

_NUMBERS = {
    "TYPE_UINT32": st.integers(0, 2**32 - 1),
    "TYPE_UINT64": st.integers(0, 2**64 - 1),
    "TYPE_INT64": st.integers(-(2**63), 2**63 - 1),
}


def _message(cls: type) -> Any:
    for module in (event_pb2, uplink_pb2, enrolment_pb2, policy_pb2):
        if hasattr(module, cls.__name__):
            return getattr(module, cls.__name__)
    raise AssertionError(cls)


def _number(cls: type, name: str) -> st.SearchStrategy[int]:
    field = _message(cls).DESCRIPTOR.fields_by_name[name]
    names = {getattr(type(field), kind): kind for kind in _NUMBERS}
    return _NUMBERS[names[field.type]]


def _value(cls: type, name: str, hint: Any, *, inside: bool = False) -> st.SearchStrategy[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not model.Unrecognised]
        return st.one_of([_value(cls, name, member) for member in members])
    if hint is type(None):
        return st.none()
    if get_origin(hint) is tuple:
        return st.lists(_value(cls, name, get_args(hint)[0], inside=True), max_size=3).map(tuple)
    origin = getattr(hint, "__supertype__", hint)
    if dataclasses.is_dataclass(origin):
        return values(origin)  # type: ignore[arg-type]
    if issubclass(origin, StrEnum):
        return st.sampled_from(list(origin))
    if origin is bool:
        return st.booleans()
    if origin is int:
        return _number(cls, name)
    if origin is bytes:
        return st.binary(max_size=40)
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def values(cls: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    fields = {f.name: _value(cls, f.name, hints[f.name]) for f in dataclasses.fields(cls)}
    return st.builds(cls, **fields)


@pytest.mark.parametrize("cls", codec.value_classes(), ids=lambda cls: cls.__name__)
def test_every_class_survives_the_wire(cls: type) -> None:
    @settings(max_examples=25, deadline=None)
    @given(values(cls))
    def check(value: object) -> None:
        assert codec.decode(cls, codec.encode(value)) == value

    check()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_named_error(data: bytes) -> None:
    for cls in (model.Event, *codec.value_classes()[-40:]):
        said = ""
        try:
            codec.decode(cls, data)
        except codec.WireFormatError as error:
            said = str(error)
        assert said == "" or cls.__name__ in said


@settings(max_examples=100, deadline=None)
@given(values(model.Event))
def test_the_summary_agrees_with_the_event(event: model.Event) -> None:
    encoded = codec.encode(dataclasses.replace(event, id=model.EventId(bytes(16))))
    summary = codec.summarise(encoded)
    assert summary.kind == event.body.KIND
    assert summary.wall_unix_ms == event.wall_unix_ms
    assert summary.skew_ms == event.skew_ms
    assert summary.user == event.user.pseudonym
