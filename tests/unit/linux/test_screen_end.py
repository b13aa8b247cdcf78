"""Before a session is ended, logind is asked once more: what it knows now counts, and not what the core knew."""

import time

import pytest

from schoolkeeper_agent.enforcers.actions import EndUnlocked
from schoolkeeper_agent.enforcers.linux.screen import _is_back
from schoolkeeper_agent.sensors.linux.logind import SessionState

LONG = 3_600_000
"""Milliseconds ago; 0 is never."""


@pytest.mark.parametrize(
    ("cause", "kind", "idle_for", "typed_ago", "background", "back"),
    [
        ("idle", "x11", LONG, 0, False, False),
        ("idle", "x11", 0, 0, False, True),
        ("idle", "tty", 0, LONG, False, False),
        ("idle", "tty", 0, 10_000, False, True),
        ("background", "wayland", 0, 0, True, False),
        ("background", "wayland", 0, 0, False, True),
        ("token", "wayland", 0, 0, False, False),
    ],
)
def test_whoever_is_back_is_seen(
    cause: str, kind: str, idle_for: int, typed_ago: int, background: bool, back: bool
) -> None:
    now = time.time_ns() // 1_000_000
    action = EndUnlocked(
        session_id="1", account="ann", user_id=1001, rule_id="lock", cause=cause, after_seconds=900
    )
    found = SessionState(
        session_id="1", account="ann", user_id=1001, session_type=kind, kind="user", closing=False, locked=False,
        idle_since_unix_ms=idle_for and now - idle_for, typed_unix_ms=typed_ago and now - typed_ago,
        background=background,
    )  # fmt: skip
    assert _is_back(action, found) is back
