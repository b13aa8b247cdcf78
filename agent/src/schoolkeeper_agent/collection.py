"""What may be written down: kinds about people need a notice text and, off site, the school's word (T-41)."""

from __future__ import annotations

from schoolkeeper_agent.seams import Sensor
from schoolkeeper_proto import model
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.policy import CollectionSection

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
        model.AgentRemoval.KIND,
        model.AgentUpdate.KIND,
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
        model.MediumEncrypted.KIND,
        model.AcceptableUseShown.KIND,
        model.AcceptableUseAccepted.KIND,
        model.AcceptableUseDeferred.KIND,
    }
)
"""The agent's own health, and what a person says to the school: recorded always. All other kinds need a notice text."""


def has_notice(kind: str, bundle: OpenBundle) -> bool:
    """Whether the policy in force tells people of this kind, in words."""
    return kind in NEED_NO_NOTICE or any(
        held.kind == kind and held.notice.strip() for held in bundle.collection.kinds
    )


class CollectionTable:
    """What may be written down, where and when, by kind; compiled once per policy."""

    __slots__ = ("_clock", "_kinds")

    def __init__(self, collection: CollectionSection) -> None:
        """Raises ``TableMistake`` for hours that cannot be used."""
        self._clock = ZoneClock()
        self._kinds: dict[str, tuple[bool, Condition | None]] = {}
        for held in collection.kinds:
            if not held.notice.strip():
                continue
            try:
                hours = compile_condition(held.when)
            except ConditionMistake as error:
                raise TableMistake(f"the hours in which {held.kind} is collected: {error}") from error
            self._kinds.setdefault(held.kind, (held.off_site, hours))

    def may_record(self, kind: str, place: model.Place, now_ms: int) -> bool:
        """Whether an event of this kind is written down here and now (believed Unix time in milliseconds).

        A place that cannot be told counts as off site.
        """
        if kind in NEED_NO_NOTICE:
            return True
        found = self._kinds.get(kind)
        if found is None or not (found[0] or place is model.Place.ON_SITE):
            return False
        return holds(found[1], Circumstances(now_ms=now_ms, place=str(place)), self._clock) is True


def lacks_notice(sensor: Sensor, bundle: OpenBundle) -> tuple[str, ...]:
    """The kinds for which this sensor has no notice text: empty means that it may start."""
    return tuple(kind for kind in sensor.kinds if not has_notice(kind, bundle))
