"""Media, sessions, the lock and posture: asked for, done, and only then said."""

from dataclasses import replace

from schoolkeeper_agent.enforcers.actions import HoldMedia, LimitMedium, LockSession
from schoolkeeper_agent.observations import (
    ActionDone,
    FallingAsleep,
    MediumArrived,
    MediumInUse,
    MediumLeft,
    PolicySwapped,
    PostureRead,
    SessionGone,
    SessionSeen,
)
from schoolkeeper_agent.seams import Outcome
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.wire import Lane
from support.core_playbook import MONDAY_10, Playbook, bundle_of

PLAIN = model.Medium(kernel_name="sdb", serial="s1", bus="usb", encryption=model.MediumEncryption.NONE)
LUKS = model.Medium(kernel_name="sdb", serial="s1", bus="usb", encryption=model.MediumEncryption.LUKS2)
ODD = model.Medium(kernel_name="sdb", serial="s1", bus="usb", encryption=model.MediumEncryption.UNKNOWN)
TEXT = policy.RuleText(
    rule_id="sticks", description="Only encrypted sticks.", resolution="Ask for a school stick."
)
SCREEN = policy.ScreenSection(text=policy.RuleText(rule_id="lock"), idle_lock_seconds=300, warn_seconds=30)


def encrypted_only(plain: policy.MediaAccess = policy.MediaAccess.READ_ONLY) -> policy.MediaSection:
    rule = policy.MediaRule(
        text=TEXT, access=policy.MediaAccess.ENCRYPTED_ONLY, plain=plain, unknown=policy.MediaAccess.BLOCK
    )
    return policy.MediaSection(rules=(rule,))


def limit(access: policy.MediaAccess, *, keep: bool = False) -> LimitMedium:
    return LimitMedium(kernel_name="sdb", access=access, rule_id="sticks", keep=keep)


def done(action: object, *, enforcer: str, succeeded: bool = True, detail: str = "") -> ActionDone:
    return ActionDone(outcome=Outcome(enforcer=enforcer, action=action, succeeded=succeeded, detail=detail))


def test_a_plain_medium_becomes_read_only_and_is_said_once_it_is() -> None:
    script = Playbook(bundle_of(encrypted_only()), able={"media"})
    script.sees(MediumArrived(medium=PLAIN, account="ann", user_id=1001)).records("media.attached")
    action = limit(policy.MediaAccess.READ_ONLY)
    script.enforces("media", action).nothing()
    script.sees(done(action, enforcer="media")).records("media.made_read_only", medium=PLAIN)
    script.tells("can only be read here", "Ask for a school stick.")
    script.tells("can be encrypted", "schoolkeeper-agent encrypt sdb").nothing()
    script.sees(MediumInUse(kernel_name="sdb", read_only=True))
    assert script.effects[0].body.rule.enforced is True  # type: ignore[union-attr]
    script.records("media.mounted", read_only=True)
    script.sees(MediumLeft(kernel_name="sdb")).records("media.ejected").nothing()


def test_an_encrypted_medium_is_left_alone_and_one_that_cannot_be_told_is_blocked() -> None:
    script = Playbook(bundle_of(encrypted_only()), able={"media"})
    script.sees(MediumArrived(medium=LUKS)).records("media.attached").nothing()
    script.sees(MediumLeft(kernel_name="sdb")).records("media.ejected")
    script.sees(MediumArrived(medium=ODD)).records("media.attached")
    kept = limit(policy.MediaAccess.BLOCK, keep=True)  # it may be encrypted here, so it stays on its bus
    script.enforces("media", kept).nothing()
    script.sees(done(kept, enforcer="media")).records("media.refused")
    script.tells("not allowed here")
    script.tells("can be encrypted", "schoolkeeper-agent encrypt sdb")


def test_a_medium_that_could_not_be_limited_is_not_called_limited() -> None:
    script = Playbook(bundle_of(encrypted_only()), able={"media"})
    script.sees(MediumArrived(medium=PLAIN)).records("media.attached").enforces("media")
    failure = done(
        limit(policy.MediaAccess.READ_ONLY), enforcer="media", succeeded=False, detail="no such ioctl"
    )
    script.sees(failure).records(
        "sensor.failed", error="no such ioctl", severity=model.Severity.HIGH
    ).nothing()
    script.sees(MediumInUse(kernel_name="sdb", read_only=False))
    assert script.effects[0].body.rule.enforced is False  # type: ignore[union-attr]
    script.records("media.mounted")


def test_audit_mode_asks_for_nothing_and_names_the_rule_at_the_mount() -> None:
    script = Playbook(bundle_of(encrypted_only()))
    script.sees(MediumArrived(medium=PLAIN)).records("media.attached").nothing()
    script.sees(MediumInUse(kernel_name="sdb", read_only=False))
    assert script.effects[0].body.rule.rule_id == "sticks"  # type: ignore[union-attr]
    assert script.effects[0].body.rule.enforced is False  # type: ignore[union-attr]
    script.records("media.mounted")


def test_a_new_policy_reaches_what_is_already_plugged_in() -> None:
    script = Playbook(bundle_of(), able={"media"})
    script.sees(MediumArrived(medium=PLAIN)).records("media.attached").nothing()
    script.sees(PolicySwapped(bundle=bundle_of(encrypted_only()))).records("policy.applied")
    script.enforces("media", HoldMedia(hold=True))
    script.enforces("media", limit(policy.MediaAccess.READ_ONLY)).nothing()
    script.sees(PolicySwapped(bundle=bundle_of(encrypted_only(policy.MediaAccess.BLOCK)))).records(
        "policy.applied"
    )
    script.enforces("media", limit(policy.MediaAccess.BLOCK, keep=True)).nothing()


def holding_script() -> Playbook:
    script = Playbook(bundle_of(encrypted_only()), able={"media"})
    script.sees(PolicySwapped(bundle=bundle_of(encrypted_only()))).records("policy.applied")
    script.enforces("media", HoldMedia(hold=True)).nothing()
    return script


def test_what_is_held_until_it_is_judged_is_given_free_by_name_and_nobody_is_told() -> None:
    script = holding_script()
    script.sees(MediumArrived(medium=LUKS, sequence=7)).records("media.attached")
    free = LimitMedium(kernel_name="sdb", access=policy.MediaAccess.ALLOW, rule_id="sticks", sequence=7)
    script.enforces("media", free).nothing()
    script.sees(done(free, enforcer="media")).nothing()
    # No rule limits media any more: nothing waits, and what is there stays as it is.
    script.sees(PolicySwapped(bundle=bundle_of())).records("policy.applied")
    script.enforces("media", HoldMedia(hold=False)).nothing()


def test_a_rule_on_trial_holds_nothing_back() -> None:
    trial = policy.RuleText(rule_id="sticks", mode=policy.RuleMode.OBSERVE)
    rule = policy.MediaRule(text=trial, access=policy.MediaAccess.BLOCK)
    script = Playbook(bundle_of(), able={"media"})
    section = policy.MediaSection(rules=(rule,))
    script.sees(PolicySwapped(bundle=bundle_of(section))).records("policy.applied").nothing()


def test_a_stick_that_was_encrypted_and_is_formatted_plain_is_judged_again() -> None:
    script = holding_script()
    script.sees(MediumArrived(medium=LUKS, sequence=7)).records("media.attached").enforces("media")
    script.sees(MediumArrived(medium=PLAIN, sequence=7)).records("media.attached")
    limited = LimitMedium(
        kernel_name="sdb", access=policy.MediaAccess.READ_ONLY, rule_id="sticks", sequence=7
    )
    script.enforces("media", limited).nothing()


def test_a_stick_that_was_pulled_out_before_it_could_be_limited_is_no_failure() -> None:
    script = holding_script()
    script.sees(MediumArrived(medium=PLAIN, sequence=7)).records("media.attached").enforces("media")
    action = limit(policy.MediaAccess.READ_ONLY)
    gone = Outcome(enforcer="media", action=action, succeeded=False, detail="there is none", gone=True)
    script.sees(ActionDone(outcome=gone)).nothing()


def test_a_failed_hold_is_said() -> None:
    script = holding_script()
    failed = done(HoldMedia(hold=True), enforcer="media", succeeded=False, detail="no udev rule")
    script.sees(failed).records("sensor.failed", error="no udev rule").nothing()


def session(idle_for: int = 0, *, locked: bool = False, now: int = MONDAY_10) -> SessionSeen:
    since = now - idle_for * 1000 if idle_for else 0
    return SessionSeen(
        session_id="1",
        account="ann",
        user_id=1001,
        session_type="x11",
        locked=locked,
        idle_since_unix_ms=since,
    )


def idle_script() -> Playbook:
    script = Playbook(bundle_of(SCREEN), able={"screen"})
    script.sees(session()).records("session.signed_in").nothing()
    return script


LOCK = LockSession(session_id="1", rule_id="lock")


def test_an_idle_screen_is_warned_locked_and_called_locked_when_logind_shows_it() -> None:
    script = idle_script()
    script.sees(session(100)).records("session.idle").nothing()
    script.sees(session(275)).tells("locks soon").nothing()
    script.sees(session(280)).nothing()
    script.sees(session(300)).enforces("screen", LOCK).nothing()
    script.sees(session(302, locked=True)).nothing()
    script.sees(done(LOCK, enforcer="screen")).records("session.locked", verified=True, cause="idle")
    script.records("posture", check="lock", result=model.PostureResult.PASS).nothing()
    script.sees(session(303, locked=True)).nothing()
    script.sees(session()).records("session.unlocked").nothing()
    script.sees(SessionGone(session_id="1")).records("session.signed_out").nothing()


def test_a_screen_that_does_not_lock_is_critical_said_once_and_tried_again() -> None:
    script = idle_script()
    script.sees(session(300)).records("session.idle").enforces("screen", LOCK).nothing()
    failure = done(LOCK, enforcer="screen", succeeded=False, detail="nothing locks it")
    script.sees(failure).records("session.lock_failed", lane=Lane.CRITICAL, detail="nothing locks it")
    script.records("posture", result=model.PostureResult.FAIL).nothing()
    script.later(5).sees(session(305, now=script.now)).nothing()
    script.later(30).sees(session(335, now=script.now)).enforces("screen", LOCK)
    script.sees(failure).nothing()
    script.sees(session(340, locked=True, now=script.now)).records("session.locked").nothing()


def test_every_open_screen_is_locked_before_the_machine_sleeps() -> None:
    lock = LockSession(session_id="1", rule_id="lock", cause="suspend")
    script = Playbook(bundle_of(SCREEN), able={"screen"})
    script.sees(session()).records("session.signed_in").nothing()
    script.sees(FallingAsleep()).enforces("screen", lock).nothing()
    script.sees(session(locked=True)).nothing()
    script.sees(done(lock, enforcer="screen")).records("session.locked", verified=True, cause="suspend")
    script.records("posture", check="lock").nothing()
    script.sees(FallingAsleep()).nothing()


def test_before_sleep_nothing_is_locked_where_no_rule_locks_screens() -> None:
    watched = replace(SCREEN, text=policy.RuleText(rule_id="lock", mode=policy.RuleMode.WARN))
    for section in (watched, None):
        script = Playbook(bundle_of(*(() if section is None else (section,))), able={"screen"})
        script.sees(session()).records("session.signed_in").nothing()
        script.sees(FallingAsleep()).nothing()


def test_a_screen_locked_by_the_person_is_not_locked_again() -> None:
    script = idle_script()
    script.sees(session(10, locked=True)).records("session.locked").records("session.idle").nothing()
    script.sees(session(900, locked=True)).nothing()


def test_posture_keeps_since_when_and_says_why_it_is_unknown() -> None:
    script = Playbook(bundle_of())
    unknown = PostureRead(
        check="antivirus", result=model.PostureResult.UNKNOWN, unknown_because="not installed"
    )
    script.sees(unknown).records(
        "posture", since_unix_ms=MONDAY_10, unknown_because="not installed"
    ).nothing()
    script.later(60).sees(unknown)
    script.records("posture", since_unix_ms=MONDAY_10, evaluated_at_unix_ms=MONDAY_10 + 60_000).nothing()
    script.later(60).sees(
        PostureRead(check="antivirus", result=model.PostureResult.FAIL, evidence="9 days old")
    )
    script.records("posture", since_unix_ms=MONDAY_10 + 120_000, severity=model.Severity.LOW).nothing()
