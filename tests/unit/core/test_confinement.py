"""An isolation and a lost device in the core: asked for, told as done only when it is, and taken away again."""

from __future__ import annotations

import pytest

from schoolkeeper_agent.confinement import ADVICE, ISOLATED, RELEASED
from schoolkeeper_agent.enforcers.actions import (
    AllowSignIn,
    EndSession,
    Isolate,
    LiftIsolation,
    LockSession,
    RefuseSignIn,
)
from schoolkeeper_agent.observations import ActionDone, GrantsChanged, IsolationTried, SessionSeen
from schoolkeeper_agent.seams import Outcome
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.wire import GrantKind, Lane
from support.core_playbook import MONDAY_10, Playbook, bundle_of

ABLE = {"isolation", "sign-in", "screen"}
GRANT, OTHER = b"g" * 16, b"o" * 16
UNTIL = MONDAY_10 + 3_600_000
ISOLATE = InForce(grant_id=GRANT, kind=GrantKind.ISOLATE, until_unix_ms=UNTIL)
QUIET = InForce(grant_id=GRANT, kind=GrantKind.ISOLATE, until_unix_ms=UNTIL, quiet=True)
LOST = InForce(grant_id=GRANT, kind=GrantKind.LOST, until_unix_ms=UNTIL)
CHANGED = "network.isolation_changed"


def begun(able: set[str] | None = None) -> Playbook:
    """As after a start without grants: what a former run left is taken away, and there was nothing."""
    book = Playbook(bundle_of(), able=ABLE if able is None else able).sees(GrantsChanged(in_force=()))
    if able is None:
        book.enforces("isolation", LiftIsolation()).enforces("sign-in", AllowSignIn())
        for name, action in (("isolation", LiftIsolation()), ("sign-in", AllowSignIn())):
            book.sees(did(name, action)).nothing()
    return book.nothing()


def did(name: str, action: object, detail: str = "", *, succeeded: bool = True) -> ActionDone:
    return ActionDone(outcome=Outcome(enforcer=name, action=action, succeeded=succeeded, detail=detail))


def seen(session_id: str = "2", *, kind: str = "x11", locked: bool = False, user: int = 1001) -> SessionSeen:
    return SessionSeen(
        session_id=session_id, account="ada", user_id=user, session_type=kind, locked=locked,
        groups=frozenset(),
    )  # fmt: skip


@pytest.mark.requirement("T-62")
def test_it_is_asked_for_at_once_and_written_down_only_when_it_is_done() -> None:
    action = Isolate(grant_id=GRANT, until_unix_ms=UNTIL)
    book = begun().sees(GrantsChanged(in_force=(ISOLATE,))).enforces("isolation", action).nothing()
    book.sees(did("isolation", action, "2 addresses"))
    book.records(
        CHANGED, isolated=True, state="in-place", grant_id=GRANT, until_unix_ms=UNTIL, lane=Lane.CRITICAL
    )
    book.tells(ISOLATED, "plug it in", "do not change").nothing()
    book.sees(IsolationTried(grant_id=GRANT, state="on")).records(
        CHANGED, isolated=True, state="on"
    ).nothing()
    book.sees(GrantsChanged(in_force=(ISOLATE,))).nothing()
    book.sees(GrantsChanged(in_force=())).enforces("isolation", LiftIsolation()).nothing()
    book.sees(did("isolation", LiftIsolation(), f"{GRANT.hex()} lifted"))
    book.records(CHANGED, isolated=False, state="off", grant_id=GRANT).tells(RELEASED).nothing()


def test_what_failed_or_was_rolled_back_is_never_shown_as_done() -> None:
    action = Isolate(grant_id=GRANT, until_unix_ms=UNTIL)
    book = begun().sees(GrantsChanged(in_force=(ISOLATE,))).enforces("isolation", action)
    book.sees(did("isolation", action, "no nft", succeeded=False))
    book.records(CHANGED, isolated=False, state="failed", detail="no nft").nothing()
    book.sees(IsolationTried(grant_id=GRANT, state="rolled-back", detail="why"))
    book.records(CHANGED, isolated=False, state="rolled-back", detail="why").nothing()
    book.sees(IsolationTried(grant_id=OTHER, state="on")).nothing()
    unable = begun(able={"media"}).sees(GrantsChanged(in_force=(ISOLATE,)))
    unable.records(CHANGED, isolated=False, state="failed", grant_id=GRANT).nothing()


@pytest.mark.requirement("W-104")
def test_a_quiet_one_says_nothing_at_the_device() -> None:
    action = Isolate(grant_id=GRANT, until_unix_ms=UNTIL)
    book = begun().sees(GrantsChanged(in_force=(QUIET,))).enforces("isolation", action)
    book.sees(did("isolation", action)).records(CHANGED, state="in-place").nothing()
    assert "plug it in" in ADVICE
    book.sees(GrantsChanged(in_force=())).enforces("isolation", LiftIsolation())
    book.sees(did("isolation", LiftIsolation(), f"{GRANT.hex()} lifted"))
    book.records(CHANGED, isolated=False, state="off").nothing()


def test_a_lost_device_is_locked_locked_again_and_what_has_no_lock_is_ended() -> None:
    book = begun().sees(seen()).records("session.signed_in").nothing()
    book.sees(seen("3", kind="tty")).records("session.signed_in").nothing()
    book.sees(seen("4", kind="tty", user=0)).records("session.signed_in").nothing()
    book.sees(GrantsChanged(in_force=(LOST,)))
    book.enforces("sign-in", RefuseSignIn(grant_id=GRANT)).enforces("screen", LockSession(session_id="2"))
    book.enforces("sign-in", EndSession(session_id="3")).nothing()
    book.sees(did("sign-in", RefuseSignIn(grant_id=GRANT)))
    book.records(CHANGED, isolated=True, what="lost", state="in-place").nothing()
    book.sees(did("screen", LockSession(session_id="2"))).records("session.locked", cause="lost")
    book.records("posture").nothing()
    book.later(5).sees(seen()).records("session.unlocked").enforces(
        "screen", LockSession(session_id="2")
    ).nothing()
    book.sees(did("screen", LockSession(session_id="2"), "it does not lock", succeeded=False))
    book.records("session.lock_failed").records("posture").enforces(
        "sign-in", EndSession(session_id="2")
    ).nothing()
    book.sees(GrantsChanged(in_force=())).enforces("sign-in", AllowSignIn()).nothing()
    book.sees(did("sign-in", AllowSignIn(), f"{GRANT.hex()} people can sign in again"))
    book.records(CHANGED, isolated=False, what="lost", state="off", grant_id=GRANT).nothing()
    book.later(60).sees(seen()).nothing()


def test_a_restart_asks_for_what_holds_and_lifts_what_does_not() -> None:
    book = Playbook(bundle_of(), able=ABLE).sees(GrantsChanged(in_force=(LOST,)))
    book.enforces("isolation", LiftIsolation()).enforces("sign-in", RefuseSignIn(grant_id=GRANT)).nothing()
    book.sees(did("isolation", LiftIsolation(), f"{GRANT.hex()} lifted"))
    book.records(CHANGED, isolated=False, state="off").nothing()
