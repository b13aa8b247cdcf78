"""Severities as numbers, as the wire and the tables have them: they can be compared and only rise."""

from __future__ import annotations

from schoolkeeper_proto.model import Severity

_ORDER = tuple(Severity)


def severity_number(severity: Severity) -> int:
    return _ORDER.index(severity)


def severity_of(number: int) -> Severity:
    """The severity of a number; a number from a newer version is as bad as the worst that is known."""
    return _ORDER[number] if 0 <= number < len(_ORDER) else Severity.CRITICAL
