"""When a screen is due to be locked, and what comes of one that stays open (pure; W-72).

A session is due when nobody has used it for the policy's time, when the lid was shut or a security key was pulled
out, or when another session of its seat has the screen. It is asked to lock, and asked again every half minute. Where
the policy says so, one that still does not lock is ended, but only after the policy's time, after words at its
beginning and a minute before, and never when it locked meanwhile or somebody is back: their work may not be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from schoolkeeper_agent.decisions import Effects, locks_screens
from schoolkeeper_agent.enforcers.actions import EndUnlocked, LockSession
from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.seams import Effect, Enforce, Tell
from schoolkeeper_agent.state import CoreState, HeldSession
from schoolkeeper_proto.conditions import ZoneClock, compile_condition, holds
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import ScreenSection

ENFORCER = "screen"
RETRY_MS = 30_000
"""A screen that would not lock is tried again after this, and reported once per time it was left."""
JUST_ASKED_MS = 5_000
"""A lid that is shut and the sleep that follows lock once."""
LAST_WORDS_MS = 60_000
BEGINS_MS = 60_000
"""A desktop has the screen so long after its person signed in."""
IDLE, LID, TOKEN, BACKGROUND = "idle", "lid", "token", "background"
_MOMENTS = frozenset({LID, TOKEN})
"""Due since a moment, and not as long as something is so: a person who unlocks with the lid shut goes on working."""
_ENDED_FOR = frozenset({IDLE, TOKEN, BACKGROUND})
_FIRST_SEAT = ("", "seat0")


def look(state: CoreState, held: HeldSession, idle_since_unix_ms: int, now: int) -> HeldSession:
    """The session with why it is due now, if it is; ``idle_since_unix_ms`` 0: somebody uses it."""
    if held.locked:
        return replace(undue(held), warned=False, failures=held.failures if held.idle else 0)
    if held.due in _MOMENTS:
        return held
    section = state.policy.screen
    cause = ""
    if locks_screens(section) and held.has_a_screen and _applies(state, section, held, now):
        if held.background and held.graphical and _was_left(held, now):
            cause = BACKGROUND
        elif held.idle and now - idle_since_unix_ms >= section.idle_lock_seconds * 1000:
            cause = IDLE
    if not cause:
        if not held.idle:
            return replace(undue(held), warned=False, failures=0)
        return undue(held) if held.due else held
    if cause == held.due:
        return held
    return replace(held, due=cause, due_unix_ms=held.due_unix_ms or now)


def undue(held: HeldSession) -> HeldSession:
    """It need not be locked, or is."""
    return replace(held, asked_unix_ms=0, due="", due_unix_ms=0, last_words_unix_ms=0, end_failed=False)


def ask(state: CoreState, held: HeldSession, now: int) -> tuple[HeldSession, Effects]:
    """Has it locked, and locked again each half minute; has it ended where the policy says so."""
    section = state.policy.screen
    if not held.due or ENFORCER not in state.able or not locks_screens(section):
        return held, ()
    if held.asked_unix_ms and now - held.asked_unix_ms < RETRY_MS:
        return held, ()
    held, told = _last_words(section, held, now)
    action: LockSession | EndUnlocked
    if _has_had_its_time(section, held, now):
        action = EndUnlocked(
            session_id=held.session_id,
            account=held.account,
            user_id=held.user_id,
            rule_id=section.text.rule_id,
            cause=held.due,
            after_seconds=section.end_unlocked_seconds,
        )
    else:
        action = LockSession(session_id=held.session_id, rule_id=section.text.rule_id, cause=held.due)
    return replace(held, asked_unix_ms=now), (*told, Enforce(enforcer=ENFORCER, action=action))


def ask_all(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """With each minute: whoever is due stays due, and what was found in the background is by now."""

    def anew(held: HeldSession) -> HeldSession:
        return look(state, held, 0, now) if held.background and not held.due and not held.idle else held

    return _each(state, state.sessions.values(), anew, now)


def lid_moved(state: CoreState, now: int, *, closed: bool) -> tuple[CoreState, Effects]:
    """Screens at the machine itself are locked; an open lid asks for nothing any more."""
    section = state.policy.screen
    if not closed:
        return _no_longer(state, LID), ()
    if section is None or not section.lock_on_lid:
        return state, ()
    here = [held for held in _open(state, now) if held.graphical and held.seat in _FIRST_SEAT]
    return _each(state, here, lambda held: _due(held, LID, now), now)


def token_moved(state: CoreState, now: int, *, removed: bool) -> tuple[CoreState, Effects]:
    """Every screen of the machine is locked; a password opens it again, with or without the key."""
    if not removed:
        return _no_longer(state, TOKEN), ()
    return _each(state, _open(state, now), lambda held: _due(held, TOKEN, now), now)


def warn(
    state: CoreState, held: HeldSession, idle_since_unix_ms: int, now: int
) -> tuple[HeldSession, Effects]:
    """The words before an idle lock."""
    section = state.policy.screen
    if section is None or section.idle_lock_seconds <= 0 or section.warn_seconds <= 0:
        return held, ()
    if held.due or held.warned or held.locked or not held.idle or not held.has_a_screen:
        return held, ()
    idle_ms = now - idle_since_unix_ms
    if ENFORCER not in state.able or mode_of(section.text) == "observe":
        return held, ()
    if not section.idle_lock_seconds - section.warn_seconds <= idle_ms / 1000 < section.idle_lock_seconds:
        return held, ()
    if not _applies(state, section, held, now):
        return held, ()
    tell = Tell(
        title="The screen locks soon",
        text=f"In {section.warn_seconds} seconds, unless you move the mouse or press a key.",
        rule_id=section.text.rule_id,
        session_id=held.session_id,
    )
    return replace(held, warned=True), (tell,)


def words_of_failure(state: CoreState, held: HeldSession) -> Effects:
    """After the first lock that failed, where the session is ended at last."""
    section = state.policy.screen
    if section is None or not _is_ended_at_last(section, held):
        return ()
    minutes = max(2, section.end_unlocked_seconds // 60)
    return (_tell(section, held, f"You are signed out in about {minutes} minutes"),)


def lockable(state: CoreState, now: int) -> list[HeldSession]:
    """Open screens that the rule is about, and that are not being locked this moment."""
    return [held for held in _open(state, now) if held.graphical and not _just_asked(held, now)]


def _was_left(held: HeldSession, now: int) -> bool:
    """A session that begins is in the background for a moment, before it gets the screen."""
    return held.shown or now - held.seen_unix_ms >= BEGINS_MS


def _open(state: CoreState, now: int) -> list[HeldSession]:
    """Sessions at this machine that are not locked and that the rule is about."""
    section = state.policy.screen
    if ENFORCER not in state.able or not locks_screens(section) or state.confined.lost is not None:
        return []  # on a lost device every screen is locked as it opens
    found = state.sessions.values()
    return [
        held for held in found if not held.locked and not held.remote and _applies(state, section, held, now)
    ]


def _each(
    state: CoreState, some: Iterable[HeldSession], change: Callable[[HeldSession], HeldSession], now: int
) -> tuple[CoreState, Effects]:
    if state.confined.lost is not None:
        return state, ()
    sessions, effects = dict(state.sessions), list[Effect]()
    for one in some:
        held, asked = ask(state, change(one), now)
        sessions[held.session_id] = held
        effects += asked
    return replace(state, sessions=sessions), tuple(effects)


def _due(held: HeldSession, cause: str, now: int) -> HeldSession:
    asked = held.asked_unix_ms if _just_asked(held, now) else 0
    return replace(held, due=cause, due_unix_ms=now, asked_unix_ms=asked)


def _just_asked(held: HeldSession, now: int) -> bool:
    return bool(held.asked_unix_ms) and now - held.asked_unix_ms < JUST_ASKED_MS


def _no_longer(state: CoreState, cause: str) -> CoreState:
    sessions = {name: undue(held) if held.due == cause else held for name, held in state.sessions.items()}
    return replace(state, sessions=sessions)


def _last_words(section: ScreenSection, held: HeldSession, now: int) -> tuple[HeldSession, Effects]:
    """A minute before; also after a sleep, or a clock that jumped, over the whole time."""
    if held.last_words_unix_ms or not _is_ended_at_last(section, held) or held.failures < 1:
        return held, ()
    if now - held.due_unix_ms < section.end_unlocked_seconds * 1000 - LAST_WORDS_MS:
        return held, ()
    return replace(held, last_words_unix_ms=now), (_tell(section, held, "You are signed out in a minute"),)


def _has_had_its_time(section: ScreenSection, held: HeldSession, now: int) -> bool:
    if not _is_ended_at_last(section, held) or held.failures < 2 or not held.last_words_unix_ms:
        return False
    late = now - held.due_unix_ms >= section.end_unlocked_seconds * 1000
    return late and now - held.last_words_unix_ms >= LAST_WORDS_MS


def _is_ended_at_last(section: ScreenSection, held: HeldSession) -> bool:
    """Root's is left alone: whoever repairs a machine is not thrown out of it."""
    return section.end_unlocked_seconds > 0 and held.due in _ENDED_FOR and held.user_id >= FIRST_PERSON_UID


def _tell(section: ScreenSection, held: HeldSession, when: str) -> Tell:
    way = "put your key back in, or lock it" if held.due == TOKEN else "use it again, or lock it"
    return Tell(
        title="This screen should be locked, and does not lock",
        text=f"{when}, and what is not saved is lost. Save your work; {way}.",
        rule_id=section.text.rule_id,
        session_id=held.session_id,
    )


def _applies(state: CoreState, section: ScreenSection, held: HeldSession, now: int) -> bool:
    # Locking is the stricter side: what cannot be told counts as applying.
    answer = holds(compile_condition(section.when), state.circumstances(held, now), ZoneClock())
    return answer is not False
