"""What may be written down: kinds about people need a notice text and, off site, the school's word (T-41)."""

from __future__ import annotations

from schoolkeeper_agent.seams import Sensor
from schoolkeeper_proto import model
from schoolkeeper_proto.bundle import OpenBundle

NEED_NO_NOTICE = frozenset(
    {
        model.Heartbeat.KIND,
        model.PolicyApplied.KIND,
        model.PolicyRefused.KIND,
        model.GrantApplied.KIND,
        model.GrantEnded.KIND,
        model.AgentStarted.KIND,
        model.AgentStopped.KIND,
        model.AgentKilled.KIND,
        model.AgentTampered.KIND,
        model.ClockChanged.KIND,
        model.Gap.KIND,
        model.Evicted.KIND,
        model.SetAside.KIND,
        model.SensorFailed.KIND,
        model.SensorRecovered.KIND,
        model.BudgetExceeded.KIND,
        model.CommandResult.KIND,
        model.Canary.KIND,
        model.IsolationChanged.KIND,
        # What a person does towards the school, knowingly.
        model.PersonReport.KIND,
        model.ExceptionRequested.KIND,
        model.AcceptableUseShown.KIND,
        model.AcceptableUseAccepted.KIND,
    }
)
"""The agent's own health, and what a person says to the school: recorded always. All other kinds need a notice text."""


def has_notice(kind: str, bundle: OpenBundle) -> bool:
    """Whether the policy in force tells people of this kind, in words."""
    return kind in NEED_NO_NOTICE or any(
        held.kind == kind and held.notice.strip() for held in bundle.collection.kinds
    )


def may_record(kind: str, bundle: OpenBundle, place: model.Place) -> bool:
    """Whether an event of this kind is written down here. A place that cannot be told counts as off site."""
    if kind in NEED_NO_NOTICE:
        return True
    for held in bundle.collection.kinds:
        if held.kind == kind and held.notice.strip():
            return held.off_site or place is model.Place.ON_SITE
    return False


def lacks_notice(sensor: Sensor, bundle: OpenBundle) -> tuple[str, ...]:
    """The kinds for which this sensor has no notice text: empty means that it may start."""
    return tuple(kind for kind in sensor.kinds if not has_notice(kind, bundle))


def startable(sensor: Sensor, bundle: OpenBundle) -> bool:
    """A sensor whose kinds lack a notice text does not start (T-41)."""
    return not lacks_notice(sensor, bundle)
