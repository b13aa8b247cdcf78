"""What locks a screen besides idle time, and what comes of one that stays open: no work is thrown away unasked."""

from dataclasses import replace

import pytest

from schoolkeeper_agent.enforcers.actions import EndUnlocked, HoldMedia, LimitMedium, LockSession
from schoolkeeper_agent.observations import (
    ActionDone,
    FallingAsleep,
    LidMoved,
    MediumArrived,
    PolicySwapped,
    SessionGone,
    SessionSeen,
    Tick,
    TokenMoved,
)
from schoolkeeper_agent.seams import Outcome, Record
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.wire import Lane
from support.core_playbook import Playbook, bundle_of

SCREEN = policy.ScreenSection(text=policy.RuleText(rule_id="lock"), idle_lock_seconds=300)
ENDS = replace(SCREEN, end_unlocked_seconds=900)
ANN = SessionSeen(session_id="1", account="ann", user_id=1001, session_type="x11", seat="seat0")
BEN = SessionSeen(session_id="2", account="ben", user_id=1002, session_type="wayland", seat="seat0")
CONSOLE = replace(ANN, session_type="tty")
OPEN = "nothing locks it"


def lock(cause: str = "idle", session_id: str = "1") -> LockSession:
    return LockSession(session_id=session_id, rule_id="lock", cause=cause)


def did(action: object, *, succeeded: bool = True, gone: bool = False) -> ActionDone:
    detail = "" if succeeded else OPEN
    return ActionDone(
        outcome=Outcome(enforcer="screen", action=action, succeeded=succeeded, detail=detail, gone=gone)
    )


def script(section: policy.ScreenSection, *seen: SessionSeen, able: set[str] | None = None) -> Playbook:
    book = Playbook(bundle_of(section), able=able or {"screen"})
    for one in seen or (ANN,):
        book.sees(one)
        book.effects = []
    return book


def idle(book: Playbook, seconds: int, seen: SessionSeen = ANN) -> SessionSeen:
    return replace(seen, idle_since_unix_ms=book.now - seconds * 1000)


def test_a_shut_lid_locks_where_the_policy_says_so_and_whoever_unlocks_goes_on_working() -> None:
    book = script(replace(SCREEN, lock_on_lid=True))
    book.sees(LidMoved(closed=True)).enforces("screen", lock("lid")).nothing()
    book.sees(did(lock("lid"))).records("session.locked", cause="lid").records("posture").nothing()
    book.sees(ANN).records("session.unlocked").nothing()
    book.later(60).sees(Tick()).nothing()
    script(SCREEN).sees(LidMoved(closed=True)).nothing()


def test_an_opened_lid_asks_for_nothing_any_more() -> None:
    book = script(replace(SCREEN, lock_on_lid=True))
    book.sees(LidMoved(closed=True)).enforces("screen", lock("lid")).nothing()
    book.sees(LidMoved(closed=False)).nothing()
    book.later(60).sees(Tick()).nothing()


@pytest.mark.parametrize(
    "seen", [replace(ANN, seat="seat1"), replace(ANN, remote=True), CONSOLE, replace(ANN, locked=True)]
)
def test_a_lid_is_of_the_first_seat_s_desktops(seen: SessionSeen) -> None:
    script(replace(SCREEN, lock_on_lid=True), seen).sees(LidMoved(closed=True)).nothing()


def test_a_key_that_is_pulled_out_locks_every_screen_and_a_password_opens_it_again() -> None:
    book = script(SCREEN, ANN, replace(BEN, seat="seat1"))
    book.sees(TokenMoved(product="1050:0407", removed=True))
    book.enforces("screen", lock("token")).enforces("screen", lock("token", "2")).nothing()
    book.sees(did(lock("token"))).records("session.locked", cause="token").records("posture").nothing()
    book.sees(ANN).records("session.unlocked").nothing()
    book.later(40).sees(Tick()).enforces("screen", lock("token", "2")).nothing()
    book.sees(TokenMoved(product="1050:0407", removed=False)).nothing()
    book.later(60).sees(Tick()).nothing()


def test_whoever_leaves_the_screen_to_another_is_locked() -> None:
    book = script(SCREEN, ANN)
    book.sees(replace(ANN, background=True)).enforces("screen", lock("background")).nothing()
    book.sees(did(lock("background"))).records("session.locked", cause="background").records(
        "posture"
    ).nothing()
    book.sees(BEN).records("session.signed_in").nothing()
    book.sees(ANN).records("session.unlocked").nothing()


def test_a_session_that_begins_is_not_locked_before_it_has_the_screen() -> None:
    book = script(SCREEN, replace(ANN, background=True))
    book.later(5).sees(ANN).nothing()
    book.sees(replace(ANN, background=True)).enforces("screen", lock("background")).nothing()


def test_a_session_that_was_in_the_background_when_the_agent_began_is_locked_too() -> None:
    book = script(SCREEN, replace(ANN, background=True))
    book.later(59).sees(Tick()).nothing()
    book.later(1).sees(Tick()).enforces("screen", lock("background")).nothing()


def test_a_terminal_of_another_machine_has_no_screen_here() -> None:
    book = script(SCREEN, replace(CONSOLE, remote=True))
    book.sees(idle(book, 4000, replace(CONSOLE, remote=True))).records("session.idle").nothing()
    book.sees(TokenMoved(product="1050:0407", removed=True)).nothing()


def test_a_desktop_that_somebody_uses_from_afar_is_locked_by_idle_time_as_any() -> None:
    book = script(SCREEN, replace(ANN, remote=True))
    book.sees(idle(book, 301, replace(ANN, remote=True))).records("session.idle")
    book.enforces("screen", lock()).nothing()


def failing(book: Playbook, cause: str = "idle") -> None:
    """The first lock fails: said, with the time that is left."""
    book.enforces("screen", lock(cause))
    book.sees(did(lock(cause), succeeded=False)).records("session.lock_failed", lane=Lane.CRITICAL)
    book.records("posture", result=model.PostureResult.FAIL)


def tried_again(book: Playbook, times: int, seen: SessionSeen | None = None) -> None:
    for _ in range(times):
        book.later(60).sees(seen or Tick()).enforces("screen", lock()).nothing()
        book.sees(did(lock(), succeeded=False)).nothing()


END = EndUnlocked(
    session_id="1", account="ann", user_id=1001, rule_id="lock", cause="idle", after_seconds=900
)


def left_open() -> Playbook:
    """Fifteen minutes after its screen should have been locked."""
    book = script(ENDS)
    book.sees(idle(book, 300)).records("session.idle")
    failing(book)
    book.tells("does not lock", "in about 15 minutes", "Save your work").nothing()
    tried_again(book, 13)
    book.later(60).sees(Tick()).tells("does not lock", "in a minute").enforces("screen", lock()).nothing()
    book.sees(did(lock(), succeeded=False)).nothing()
    return book


def test_a_session_that_does_not_lock_is_tried_again_and_ended_after_its_time_with_words_before() -> None:
    book = left_open()
    book.later(60).sees(Tick()).enforces("screen", END).nothing()
    # logind tells that it is gone before the enforcer has seen so.
    gone = book.sees(SessionGone(session_id="1")).effects[0]
    assert isinstance(gone, Record)
    book.records("session.signed_out").nothing()
    book.sees(did(END))
    book.records("session.lock_failed", severity=model.Severity.MEDIUM, user=gone.user).nothing()


def test_whoever_comes_back_in_the_last_minute_is_not_signed_out() -> None:
    book = left_open()
    book.later(30).sees(ANN).nothing()
    book.later(60).sees(Tick()).nothing()


def test_what_locked_in_the_last_moment_is_no_event() -> None:
    book = left_open()
    book.later(60).sees(Tick()).enforces("screen", END).nothing()
    book.sees(did(END, succeeded=False, gone=True)).nothing()


def test_a_session_that_cannot_be_ended_is_said_once() -> None:
    book = left_open()
    book.later(60).sees(Tick()).enforces("screen", END)
    book.sees(did(END, succeeded=False)).records("session.lock_failed").nothing()
    book.later(60).sees(Tick()).enforces("screen", END).nothing()
    book.sees(did(END, succeeded=False)).nothing()


def test_after_a_sleep_there_are_last_words_again() -> None:
    book = left_open()
    book.later(10).sees(FallingAsleep()).enforces("screen", lock("suspend")).nothing()
    book.later(8 * 3600).sees(Tick()).tells("in a minute").enforces("screen", lock()).nothing()
    book.later(60).sees(Tick()).enforces("screen", END).nothing()


def test_without_the_policy_s_word_and_for_root_nothing_is_ever_ended() -> None:
    for section, seen in ((SCREEN, ANN), (ENDS, replace(ANN, user_id=0, account="root"))):
        book = script(section, seen)
        book.sees(idle(book, 300, seen)).records("session.idle")
        failing(book)
        book.nothing()
        tried_again(book, 30)


def test_a_console_that_is_left_is_ended_as_what_does_not_lock() -> None:
    book = script(ENDS, CONSOLE)
    book.sees(idle(book, 300, CONSOLE)).records("session.idle")
    failing(book)
    book.tells("in about 15 minutes").nothing()


STICK = model.Medium(kernel_name="sdb", serial="s1", bus="usb", encryption=model.MediumEncryption.NONE)
GIVEN = LimitMedium(kernel_name="sdb", access=policy.MediaAccess.ALLOW)


def holding(*seen: SessionSeen) -> Playbook:
    book = script(replace(SCREEN, hold_media=True), *seen, able={"screen", "media"})
    book.sees(PolicySwapped(bundle=book.state.signed)).records("policy.applied")
    book.enforces("media", HoldMedia(hold=True)).nothing()
    return book


def test_what_is_plugged_in_while_the_screen_is_locked_waits_until_it_is_unlocked() -> None:
    book = holding(replace(ANN, locked=True))
    book.sees(MediumArrived(medium=STICK)).records("media.attached").nothing()
    book.sees(ANN).records("session.unlocked").enforces("media", GIVEN).nothing()
    book.sees(replace(ANN, locked=True)).records("session.locked").nothing()
    book.sees(ANN).records("session.unlocked").nothing()


@pytest.mark.parametrize(
    "seen",
    [
        (ANN,),
        (replace(ANN, locked=True, background=True), BEN),
        (CONSOLE,),
        (replace(ANN, locked=True), replace(BEN, seat="seat1")),
    ],
)
def test_where_somebody_is_at_an_open_screen_media_are_judged_at_once(seen: tuple[SessionSeen, ...]) -> None:
    book = holding(*seen)
    book.sees(MediumArrived(medium=STICK)).records("media.attached").enforces("media", GIVEN).nothing()


def test_what_waits_is_judged_when_the_locked_session_ends() -> None:
    book = holding(replace(ANN, locked=True))
    book.sees(MediumArrived(medium=STICK)).records("media.attached").nothing()
    book.sees(SessionGone(session_id="1")).records("session.signed_out").enforces("media", GIVEN).nothing()
