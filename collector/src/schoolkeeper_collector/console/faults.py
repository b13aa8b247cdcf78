"""What goes wrong with a request, each with a page that says what to do next."""

from __future__ import annotations

from http import HTTPStatus


class Fault(Exception):
    """Ends a request with a status and one of the texts of ``templates/fault.html``."""

    def __init__(self, status: HTTPStatus, why: str, *, detail: str = "", retry_seconds: int = 0) -> None:
        super().__init__(f"{status.value} {why}")
        self.status = status
        self.why = why
        self.detail = detail
        self.retry_seconds = retry_seconds


BY_STATUS = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.FORBIDDEN: "other-role",
    HTTPStatus.NOT_FOUND: "nothing-here",
    HTTPStatus.METHOD_NOT_ALLOWED: "wrong-way",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
    HTTPStatus.TOO_MANY_REQUESTS: "too-many",
    HTTPStatus.SERVICE_UNAVAILABLE: "busy",
}
"""For statuses that the framework gives by itself; any other is our own failure."""
