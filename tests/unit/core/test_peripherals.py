"""The core on telephones, cameras and Bluetooth: whose rule holds, what is done, and what is said of it."""

import pytest

from schoolkeeper_agent.enforcers.actions import KeepBluetooth, WithholdInterface
from schoolkeeper_agent.observations import (
    ActionDone,
    PeripheralArrived,
    PeripheralLeft,
    SessionGone,
    SessionSeen,
    Tick,
)
from schoolkeeper_agent.seams import Enforce, Outcome
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import PeripheralKind, RuleMode
from support.core_playbook import Playbook, bundle_of

PHONE, CAMERA = str(PeripheralKind.PHONE), str(PeripheralKind.CAMERA)
MTP = model.Medium(
    kernel_name="1-2:1.0", vendor_id="18d1", product_id="4ee1", serial="X1", bus="usb", file_system="mtp"
)
ADB = model.Medium(
    kernel_name="1-2:1.1", vendor_id="18d1", product_id="4ee1", serial="X1", bus="usb", file_system="adb"
)
WEBCAM = model.Medium(kernel_name="3-1:1.0", bus="usb", file_system="uvc")
STAFF = SessionSeen(session_id="1", account="lee", user_id=1001, groups=frozenset({"staff"}))
PUPIL = SessionSeen(session_id="2", account="ann", user_id=1002, groups=frozenset({"pupils"}))
WITHHOLD = WithholdInterface(kernel_name="1-2:1.0", rule_id="images.phone")


def rule(
    kind: PeripheralKind,
    *,
    mode: RuleMode = RuleMode.ENFORCE,
    groups: tuple[str, ...] = (),
    lesson: bool = False,
    allowed: tuple[str, ...] = (),
    rule_id: str = "images.phone",
) -> policy.PeripheralRule:
    window = policy.TimeWindow(weekdays=1, from_minute=9 * 60, to_minute=11 * 60)
    when = policy.Applicability(
        user_groups=groups, times=(window,) if lesson else (), time_zone="UTC" if lesson else ""
    )
    return policy.PeripheralRule(
        text=policy.RuleText(
            rule_id=rule_id,
            mode=mode,
            resolution="Use a camera of the school.",
            severity=model.Severity.MEDIUM,
        ),
        kind=kind,
        decision=DecisionKind.BLOCK,
        allowed=allowed,
        when=when if groups or lesson else None,
    )


def playing(*rules: policy.PeripheralRule, able: tuple[str, ...] = ("peripherals", "bluetooth")) -> Playbook:
    return Playbook(bundle_of(policy.PeripheralsSection(rules=rules)), able=set(able))


def signed_in(play: Playbook, session: SessionSeen) -> None:
    play.sees(session)
    play.effects = [effect for effect in play.effects if isinstance(effect, Enforce)]


def by(
    session: SessionSeen, medium: model.Medium = MTP, kinds: tuple[str, ...] = (PHONE,)
) -> PeripheralArrived:
    return PeripheralArrived(
        medium=medium, kinds=kinds, account=session.account, user_id=session.user_id, groups=session.groups
    )


def did(action: object, *, error: str = "", enforcer: str = "peripherals") -> ActionDone:
    return ActionDone(outcome=Outcome(enforcer=enforcer, action=action, succeeded=not error, detail=error))


@pytest.mark.requirement("T-46")
def test_a_phone_attached_by_staff_follows_the_staff_rule_and_a_pupils_does_not() -> None:
    play = playing(rule(PeripheralKind.PHONE, groups=("staff",)))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached", medium=MTP).enforces("peripherals", WITHHOLD).nothing()
    play.sees(did(WITHHOLD)).records("media.refused", severity=model.Severity.MEDIUM)
    play.tells(
        "Copying pictures from this telephone is not allowed here", "Use a camera of the school."
    ).nothing()

    play = playing(rule(PeripheralKind.PHONE, groups=("staff",)))
    signed_in(play, PUPIL)
    play.sees(by(PUPIL)).records("media.attached").nothing()


def test_a_device_of_several_interfaces_is_said_once_and_each_is_withheld() -> None:
    play = playing(rule(PeripheralKind.PHONE))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").enforces("peripherals", WITHHOLD).nothing()
    play.sees(did(WITHHOLD)).records("media.refused").tells("telephone").nothing()
    second = WithholdInterface(kernel_name="1-2:1.1", rule_id="images.phone")
    play.sees(by(STAFF, ADB)).enforces("peripherals", second).nothing()
    play.sees(did(second)).nothing()
    play.sees(PeripheralLeft(kernel_name="1-2:1.0")).nothing()
    play.sees(PeripheralLeft(kernel_name="1-2:1.1")).records("media.ejected").nothing()


def test_what_is_told_anew_by_a_sensor_that_started_again_is_not_written_down_twice() -> None:
    play = playing(rule(PeripheralKind.PHONE))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").enforces("peripherals")
    play.sees(by(STAFF)).nothing()


def test_the_stricter_of_two_people_holds_and_goes_with_whom_it_is_about() -> None:
    play = playing(rule(PeripheralKind.PHONE, groups=("staff",)))
    signed_in(play, PUPIL)
    play.sees(by(PUPIL)).records("media.attached").nothing()
    play.sees(STAFF).records("session.signed_in").enforces("peripherals", WITHHOLD).nothing()
    play.sees(did(WITHHOLD)).records("media.refused").tells("not allowed").nothing()
    back = WithholdInterface(kernel_name="1-2:1.0", withheld=False)
    play.sees(SessionGone(session_id="1")).records("session.signed_out").enforces(
        "peripherals", back
    ).nothing()


def test_a_rule_on_trial_warns_once_and_withholds_nothing() -> None:
    play = playing(rule(PeripheralKind.PHONE, mode=RuleMode.WARN))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").tells("Please do not use this telephone").nothing()
    play.sees(by(STAFF, ADB)).nothing()
    play.sees(Tick()).nothing()


def test_a_product_that_stays_allowed_is_not_withheld_and_what_an_earlier_run_took_is_given_back() -> None:
    play = playing(rule(PeripheralKind.PHONE, allowed=("18d1:4ee1",)))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").nothing()
    found = PeripheralArrived(medium=WEBCAM, kinds=(PHONE,), withheld=True)
    play = playing()
    play.sees(found).records("media.attached")
    play.enforces("peripherals", WithholdInterface(kernel_name="3-1:1.0", withheld=False)).nothing()


def test_the_built_in_camera_is_off_in_the_rules_times_only_and_is_no_medium() -> None:
    play = playing(rule(PeripheralKind.CAMERA, lesson=True, rule_id="camera"))
    signed_in(play, PUPIL)
    off = WithholdInterface(kernel_name="3-1:1.0", rule_id="camera")
    play.sees(by(PUPIL, WEBCAM, (CAMERA,))).enforces("peripherals", off).nothing()
    play.sees(did(off)).tells("The camera of this device is not allowed here").nothing()
    on = WithholdInterface(kernel_name="3-1:1.0", withheld=False)
    play.later(2 * 3600).sees(Tick()).enforces("peripherals", on).nothing()
    play.sees(did(on)).nothing()


def test_a_failure_is_said_once_and_tried_again_with_the_next_minute() -> None:
    play = playing(rule(PeripheralKind.PHONE))
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").enforces("peripherals")
    play.sees(did(WITHHOLD, error="the kernel said no"))
    play.records("sensor.failed", severity=model.Severity.HIGH).nothing()
    play.sees(Tick()).enforces("peripherals", WITHHOLD)
    play.sees(did(WITHHOLD, error="the kernel said no")).nothing()


def test_where_nothing_can_be_withheld_it_is_written_down_and_nothing_is_called_refused() -> None:
    play = playing(rule(PeripheralKind.PHONE), able=())
    signed_in(play, STAFF)
    play.sees(by(STAFF)).records("media.attached").nothing()


@pytest.mark.requirement("W-53")
def test_bluetooth_is_hidden_in_lesson_hours_and_the_persons_again_after_them() -> None:
    play = playing(rule(PeripheralKind.BLUETOOTH_DISCOVERABLE, lesson=True))
    hidden = KeepBluetooth(hidden=True)
    play.sees(Tick()).enforces("bluetooth", hidden).nothing()
    play.sees(did(hidden, enforcer="bluetooth")).nothing()
    play.sees(Tick()).nothing()
    play.later(2 * 3600).sees(Tick()).enforces("bluetooth", KeepBluetooth()).nothing()


def test_bluetooth_that_cannot_be_held_back_is_said_once_and_so_is_the_end_of_it() -> None:
    play = playing(rule(PeripheralKind.BLUETOOTH))
    off = KeepBluetooth(off=True)
    play.sees(Tick()).enforces("bluetooth", off)
    play.sees(did(off, error="no bus", enforcer="bluetooth")).records("sensor.failed").nothing()
    play.sees(Tick()).enforces("bluetooth", off)
    play.sees(did(off, error="no bus", enforcer="bluetooth")).nothing()
    play.sees(Tick()).enforces("bluetooth", off)
    play.sees(did(off, enforcer="bluetooth")).records("sensor.recovered").nothing()


def test_without_a_rule_bluetooth_is_left_alone() -> None:
    playing().sees(Tick()).nothing()
