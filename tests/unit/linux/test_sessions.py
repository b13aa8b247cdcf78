"""How often logind is asked: seldom, and often only around the moment a screen is due to be locked."""

from dataclasses import replace

import pytest

from schoolkeeper_agent.sensors.linux.logind import SessionState
from schoolkeeper_agent.sensors.linux.sessions import AGAIN_S, LOOK_S, console_idle, wait_seconds
from schoolkeeper_proto.policy import RuleText, ScreenSection

NOW = 1_800_000_000_000


def session(idle_s: float = 0, *, locked: bool = False) -> SessionState:
    return SessionState(
        session_id="1", account="pupil", user_id=1000, session_type="wayland", kind="user", closing=False,
        locked=locked, idle_since_unix_ms=int(NOW - idle_s * 1000) if idle_s else 0,
    )  # fmt: skip


def screen(lock_after_s: int, *, warn_s: int = 0) -> ScreenSection:
    return ScreenSection(text=RuleText(rule_id="lock"), idle_lock_seconds=lock_after_s, warn_seconds=warn_s)


@pytest.mark.parametrize(
    ("held", "lock_after_s", "expected"),
    [
        ([], 300, LOOK_S),
        ([session()], 300, LOOK_S),
        ([session(1)], 300, LOOK_S),
        ([session(288)], 300, 12),
        ([session(299)], 300, AGAIN_S),
        ([session(310)], 300, AGAIN_S),
        ([session(310, locked=True)], 300, LOOK_S),
        ([session(299, locked=True), session(290)], 300, 10),
        ([session(10_000)], 300, LOOK_S),
        ([session(10_000), session(299)], 300, AGAIN_S),
        ([session(10)], 0, LOOK_S),
    ],
)
def test_logind_is_asked_often_only_when_a_lock_is_due(
    held: list[SessionState], lock_after_s: int, expected: float
) -> None:
    assert wait_seconds(held, screen(lock_after_s), NOW) == pytest.approx(expected)


def test_the_warning_is_in_time_too() -> None:
    assert wait_seconds([session(258)], screen(300, warn_s=30), NOW) == pytest.approx(12)
    for idle in (270, 285, 300, 315):
        assert wait_seconds([session(idle)], screen(300, warn_s=30), NOW) == AGAIN_S


def test_a_policy_without_a_screen_rule_locks_nothing() -> None:
    assert wait_seconds([session(299)], None, NOW) == LOOK_S


def console(typed_s_ago: float, *, remote: bool = False) -> SessionState:
    typed = int(NOW - typed_s_ago * 1000)
    return replace(session(), session_type="tty", typed_unix_ms=typed, remote=remote)


def test_a_text_console_is_idle_since_its_last_key_and_each_key_before_is_no_news() -> None:
    rule = screen(300, warn_s=30)
    assert console_idle(console(1), rule, NOW) == console_idle(console(200), rule, NOW)
    assert console_idle(console(249), rule, NOW).idle_since_unix_ms == 0
    assert console_idle(console(251), rule, NOW).idle_since_unix_ms == NOW - 251_000
    assert console_idle(console(251, remote=True), rule, NOW).idle_since_unix_ms == 0
    assert console_idle(console(251), None, NOW).idle_since_unix_ms == 0
