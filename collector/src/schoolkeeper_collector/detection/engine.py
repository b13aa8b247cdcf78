"""Detection as a deterministic consumer: same stored events, same findings, whatever restarts lie between.

``step`` runs inside the caller's write transaction and holds nothing over from one call to the next: cursors, windows,
findings and alerts are committed together or not at all. It does a bounded amount of work and says how much, so that
the writer can put acknowledgements first. A rule that raises is disabled and shown; the others go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.detection import cursors, silence
from schoolkeeper_collector.detection.accounts_seen import AccountsSeen, forget_accounts
from schoolkeeper_collector.detection.agreements_seen import AGREEMENTS, note_agreement
from schoolkeeper_collector.detection.applications_seen import (
    APPLICATIONS,
    ApplicationsSeen,
    forget_applications,
)
from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.posture import note_posture
from schoolkeeper_collector.detection.reading import store_reader
from schoolkeeper_collector.detection.source import EventReader, Item, Portion, next_events, next_facts
from schoolkeeper_collector.detection.windows import Windows, forget_windows
from schoolkeeper_collector.incidents.alerts import AlertBook, Trigger
from schoolkeeper_collector.store.database import Store
from schoolkeeper_policies.detection.ruleset import Detector, Found, Outcome, Recovered, RuleSet, evaluate
from schoolkeeper_proto import model

EVENTS: Final = "events"
FACTS: Final = "facts"
SILENCE: Final = "silence"
LATE_MS: Final = 3_600_000
"""What comes in so long after it happened is late."""
_HORIZON_MS: Final = 400 * 86_400_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much one step may do: items that rules look at, and seconds of the writer's time.

    Where a step ends changes nothing of what is found; it only lets acknowledgements come first.
    """

    events: int = 200
    facts: int = 200
    seconds: float = 0.1


class Detection:
    """One school's detection."""

    def __init__(
        self,
        store: Store,
        rules: RuleSet,
        *,
        school_id: str,
        calendar: Calendar,
        read_events: EventReader | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._rules = rules
        self._school_id = school_id
        self._calendar = calendar
        self._read = read_events or store_reader(store.keystore)
        self._budget = budget or Budget()
        self._alerts = AlertBook(school_id, store.keystore)

    @property
    def rules(self) -> RuleSet:
        return self._rules

    def step(self, connection: Connection, now_ms: int) -> int:
        """Goes on from the cursors; returns how many rows it passed, 0 when nothing was left and nothing written."""
        passed = self._facts(connection, now_ms) + self._events(connection, now_ms)
        return passed or self._silence(connection, now_ms)

    def _events(self, connection: Connection, now_ms: int) -> int:
        cursor, _ = cursors.read_cursor(connection, self._school_id, EVENTS)
        portion = next_events(
            connection,
            self._school_id,
            cursor,
            kinds=self._rules.kinds | APPLICATIONS | AGREEMENTS | {model.Posture.KIND, model.SignedIn.KIND},
            budget=self._budget.events,
            read=self._read,
        )
        if portion.cursor == cursor:
            return 0
        reached = self._look_at(connection, portion, now_ms)
        if lost := [number for number in portion.unreadable if number <= reached]:
            fields: dict[str, object] = {"events": len(lost), "first": lost[0]}
            silence.write_fact(connection, self._school_id, None, "event.unreadable", fields, now_ms)
        cursors.write_cursor(connection, self._school_id, EVENTS, reached)
        return reached - cursor

    def _facts(self, connection: Connection, now_ms: int) -> int:
        cursor, _ = cursors.read_cursor(connection, self._school_id, FACTS)
        portion = next_facts(connection, self._school_id, cursor, budget=self._budget.facts)
        if portion.cursor == cursor:
            return 0
        reached = self._look_at(connection, portion, now_ms)
        cursors.write_cursor(connection, self._school_id, FACTS, reached)
        return reached - cursor

    def _silence(self, connection: Connection, now_ms: int) -> int:
        last, state = cursors.read_cursor(connection, self._school_id, SILENCE)
        if 0 <= now_ms - last < silence.EVERY_MS:
            return 0
        known = silence.silent_devices(state)
        silent = silence.note_silence(connection, self._school_id, self._calendar, known, now_ms)
        cursors.write_cursor(connection, self._school_id, SILENCE, now_ms, silence.silence_state(silent))
        if now_ms // _DAY_MS != last // _DAY_MS:
            forget_windows(connection, self._school_id, now_ms)
            forget_accounts(connection, self._school_id, now_ms)
            forget_applications(connection, self._school_id, now_ms)
        return 1

    def _look_at(self, connection: Connection, portion: Portion, now_ms: int) -> int:
        """Hands items to their rules until time is up; returns where the cursor then stands."""
        if not portion.items:
            return portion.cursor
        ends = time.monotonic() + self._budget.seconds
        reached = portion.cursor
        windows = Windows(connection, self._school_id)
        seen = AccountsSeen(connection, self._school_id)
        applications = ApplicationsSeen(connection, self._school_id)
        disabled = set(cursors.disabled_rules(connection, self._school_id))
        for item in portion.items:
            note_posture(connection, self._school_id, item)
            seen.note(item)
            note_agreement(connection, self._school_id, item)
            applications.note(item)
            for detector in self._rules.by_kind.get(item.kind, ()):
                key = (detector.rule.rule_id, detector.rule.version)
                if key in disabled:
                    continue
                outcomes = self._outcomes(connection, detector, item, windows, now_ms)
                if outcomes is None:
                    disabled.add(key)
                    continue
                for outcome in outcomes:
                    self._apply(connection, item, outcome, now_ms)
            if time.monotonic() > ends and item is not portion.items[-1]:
                reached = item.number
                break
        windows.save(max(item.received_ms for item in portion.items))
        return reached

    def _outcomes(
        self, connection: Connection, detector: Detector, item: Item, windows: Windows, now_ms: int
    ) -> list[Outcome] | None:
        """What one rule makes of one item; None when it raised and is now disabled."""
        try:
            return list(
                evaluate(
                    detector,
                    item.record,
                    at_ms=item.at_ms,
                    reference=f"{item.reference}#{item.number}",
                    horizon_ms=item.received_ms - _HORIZON_MS,
                    window=windows.window,
                )
            )
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a rule does wrong stops that rule and no other
            rule = detector.rule
            because = f"{type(error).__name__}: {error}"
            cursors.disable_rule(connection, self._school_id, rule.rule_id, rule.version, because, now_ms)
            fields: dict[str, object] = {"rule_id": rule.rule_id, "because": because[:200]}
            silence.write_fact(connection, self._school_id, None, "rule.disabled", fields, now_ms)
            return None

    def _apply(self, connection: Connection, item: Item, outcome: Outcome, now_ms: int) -> None:
        match outcome:
            case Found():
                self._alerts.found(connection, outcome, self._trigger(item), now_ms)
            case Recovered():
                self._alerts.recovered(connection, outcome, now_ms)

    @staticmethod
    def _trigger(item: Item) -> Trigger:
        return Trigger(
            record=item.record,
            device=item.device,
            user=item.event.user if item.event is not None else None,
            body=item.event.body if item.event is not None else None,
            late=item.received_ms - item.at_ms > LATE_MS,
        )
