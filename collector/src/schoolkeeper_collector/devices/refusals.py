"""Why a request of the enrolment listener is refused: a stable word for the program, a sentence for the technician."""

from __future__ import annotations

from enum import StrEnum

import grpc

REASON_KEY = "schoolkeeper-reason"
"""Trailing metadata that carries the word."""


class Reason(StrEnum):
    TOKEN_UNKNOWN = "token-unknown"  # noqa: S105 - a word, no secret
    TOKEN_SPENT = "token-spent"  # noqa: S105
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    TOKEN_REVOKED = "token-revoked"  # noqa: S105
    NO_BUNDLE = "no-bundle"
    BAD_REQUEST = "bad-request"
    KEY_IN_USE = "key-in-use"
    WIRE_VERSION = "wire-version"
    TOO_MANY = "too-many-attempts"
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    REVOKED = "revoked"
    TOO_OLD = "too-old"
    FAILED = "collector-failed"


_STATUS = {
    Reason.TOKEN_UNKNOWN: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_SPENT: grpc.StatusCode.PERMISSION_DENIED,
    Reason.TOKEN_EXPIRED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.TOKEN_REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NO_BUNDLE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KEY_IN_USE: grpc.StatusCode.ALREADY_EXISTS,
    Reason.WIRE_VERSION: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNKNOWN_CERTIFICATE: grpc.StatusCode.UNAUTHENTICATED,
    Reason.REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.TOO_OLD: grpc.StatusCode.PERMISSION_DENIED,
    Reason.FAILED: grpc.StatusCode.UNAVAILABLE,
}
_COUNTED = frozenset({Reason.TOKEN_UNKNOWN, Reason.BAD_REQUEST, Reason.UNKNOWN_CERTIFICATE})


class Refused(Exception):
    """A request that was refused; the message names the remedy."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def status(self) -> grpc.StatusCode:
        return _STATUS[self.reason]

    @property
    def counts_as_attempt(self) -> bool:
        """Whether it is what guessing looks like."""
        return self.reason in _COUNTED
