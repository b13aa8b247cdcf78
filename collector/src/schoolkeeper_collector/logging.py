"""Structured logs as JSON lines on standard error, without personal data.

What may be logged is a list of names, not a list of exceptions: any other field's value is withheld.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_ALLOWED = frozenset(
    {
        "event", "level", "logger", "timestamp", "exception", "error", "at", "remedy", "school_id", "address",
        "count", "counts", "seconds", "size", "generation", "term", "version", "signal", "exit_code", "state_dir",
        "listener", "lane", "because", "findings", "restarts",
    }
)  # fmt: skip
_WITHHELD = "[withheld]"


def withhold_unknown(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replaces the value of every field that is not known to be free of personal data."""
    for name in event:
        if name not in _ALLOWED:
            event[name] = _WITHHELD
    return event


def configure(level: str) -> None:
    """Both structlog's loggers and the standard library's end in the same stream."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        withhold_unknown,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # They tell of every statement and every migration; neither helps, and statements carry values.
    for chatty in ("sqlalchemy", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
