"""Before a session is ended, logind is asked once more: what it knows now counts, and not what the core knew."""

import time

import pytest

from schoolkeeper_agent.enforcers.actions import EndUnlocked
from schoolkeeper_agent.enforcers.linux.screen import _is_back
from schoolkeeper_agent.sensors.linux.logind import SessionState

NOW = time.time_ns() // 1_000_000
LONG_AGO = NOW - 3_600_000


@pytest.mark.parametrize(
    ("cause", "kind", "idle_since", "typed", "background", "back"),
    [
        ("idle", "x11", LONG_AGO, 0, False, False),
        ("idle", "x11", 0, 0, False, True),
        ("idle", "tty", 0, LONG_AGO, False, False),
        ("idle", "tty", 0, NOW - 10_000, False, True),
        ("background", "wayland", 0, 0, True, False),
        ("background", "wayland", 0, 0, False, True),
        ("token", "wayland", 0, 0, False, False),
    ],
)
def test_whoever_is_back_is_seen(
    cause: str, kind: str, idle_since: int, typed: int, background: bool, back: bool
) -> None:
    action = EndUnlocked(
        session_id="1", account="ann", user_id=1001, rule_id="lock", cause=cause, after_seconds=900
    )
    found = SessionState(
        session_id="1", account="ann", user_id=1001, session_type=kind, kind="user", closing=False, locked=False,
        idle_since_unix_ms=idle_since, typed_unix_ms=typed, background=background,
    )  # fmt: skip
    assert _is_back(action, found) is back
