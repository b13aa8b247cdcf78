"""A rule of the subset, read and checked, before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_policies.problems import Position
from schoolkeeper_policies.source import Value
from schoolkeeper_proto.model import Severity


class Operator(StrEnum):
    """How a field's value is compared with one value of the rule."""

    EQUALS = "equals"
    CONTAINS = "contains"
    STARTS_WITH = "startswith"
    ENDS_WITH = "endswith"
    REGEX = "re"
    EXISTS = "exists"
    LESS = "lt"
    LESS_EQUAL = "lte"
    GREATER = "gt"
    GREATER_EQUAL = "gte"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTest:
    """One field against values; any of them suffices unless ``every``."""

    field: str
    operator: Operator
    values: tuple[bool | int | float | str | None, ...]
    every: bool = False
    cased: bool = False
    position: Position


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Expression


Expression = And | Or | Not | FieldTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Logsource:
    product: str = ""
    category: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What every rule says about itself; ``name`` is its stable id, ``extension`` the key ``schoolkeeper:``."""

    name: str
    uuid: str
    title: str
    description: str
    level: Severity
    version: str
    """Hash of what the rule says, without its tests."""
    tags: tuple[str, ...]
    extension: Value
    tests: Value
    document: int
    """Which document of its file it is."""
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    about: About
    logsource: Logsource
    expression: Expression
    fields: tuple[tuple[str, Position], ...]


class CorrelationType(StrEnum):
    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    TEMPORAL = "temporal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """``count`` matches (values of ``field``, or all ``rules``) within ``timespan_ms`` in one group."""

    about: About
    type: CorrelationType
    rules: tuple[tuple[str, Position], ...]
    group_by: tuple[tuple[str, Position], ...]
    timespan_ms: int
    count: int
    field: str
    generate: bool
    """Whether the rules it refers to find something by themselves, too."""


AnyRule = Rule | Correlation
