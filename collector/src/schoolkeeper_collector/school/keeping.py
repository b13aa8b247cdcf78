"""For how long this school keeps what: what people are told is the law.

The notice of the policy in force says how long each kind is kept; nothing is kept longer, unless it is held. The school
may shorten raw events and the year's, never what people are told is kept for safeguarding: whoever tells somebody
something is promised that it is still there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from schoolkeeper_collector.config import ConfigError, Settings
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.store.retention import DEFAULT_DAYS, Periods, Retention, retention_of
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto.codec import kind_number

_SETTING = {
    Retention.RAW: "keep_raw_days",
    Retention.YEAR: "keep_year_days",
    Retention.SAFEGUARDING: "keep_safeguarding_days",
}
_LOOK_SECONDS = 60.0
_log = structlog.get_logger("keeping")


def told_days(pack: str | Path) -> dict[str, int]:
    """Kind -> days, as the pack's notice says. Raises ``PolicyError``."""
    told: dict[str, int] = {}
    for item in load_pack(pack).collection.collected:
        for kind in item.kinds:
            told[kind] = min(item.retention_days, told.get(kind, item.retention_days))
    return told


def check_periods(settings: Settings, told: Mapping[str, int]) -> None:
    """Raises ``ConfigError`` for a setting that contradicts what people are told."""
    for retention, setting in _SETTING.items():
        days = _set(settings, retention)
        of_class = _of_class(told, retention)
        if days is None or not of_class:
            continue
        longest = max(of_class.values())
        kind = next(kind for kind, said in sorted(of_class.items()) if said == longest)
        if days > longest:
            raise ConfigError(
                f"{setting} = {days}: people are told that nothing of it is kept for longer than {longest} days "
                f"('{kind}'). Set {longest} or less, or publish a policy whose notice says so first"
            )
        if retention is Retention.SAFEGUARDING and days < longest:
            raise ConfigError(
                f"{setting} = {days}: people are told that '{kind}' is kept for {longest} days. Leave the setting "
                "out, or publish a policy whose notice says less first"
            )


def periods_of(settings: Settings, told: Mapping[str, int]) -> Periods:
    """What holds. A setting that contradicts the notice has no effect (``check_periods`` says which)."""
    by_kind: dict[int, int] = {}
    by_class: dict[Retention, int] = {}
    for retention in Retention:
        days = None if retention is Retention.SAFEGUARDING else _set(settings, retention)
        of_class = {
            kind: said if days is None else min(days, said)
            for kind, said in _of_class(told, retention).items()
        }
        by_kind |= {kind_number(kind): said for kind, said in of_class.items()}
        by_class[retention] = _untold(settings, retention, of_class)
    return Periods(by_class=by_class, by_kind=by_kind, incident_days=settings.keep_incident_days)


def _untold(settings: Settings, retention: Retention, of_class: Mapping[str, int]) -> int:
    """Of kinds that no notice names: the collector's own, and what an older policy collected."""
    days = _set(settings, retention) or DEFAULT_DAYS[retention]
    if not of_class:
        return days
    if retention is Retention.SAFEGUARDING:
        return max(of_class.values())
    return min(of_class.values())


def _of_class(told: Mapping[str, int], retention: Retention) -> dict[str, int]:
    return {kind: days for kind, days in told.items() if retention_of(kind_number(kind)) is retention}


def _set(settings: Settings, retention: Retention) -> int | None:
    match retention:
        case Retention.RAW:
            return settings.keep_raw_days
        case Retention.YEAR:
            return settings.keep_year_days
        case Retention.SAFEGUARDING:
            return settings.keep_safeguarding_days


class Keeping:
    """The periods that hold, asked again and again: a newly published pack is taken up.

    The first pack must be readable and fit the settings (``PolicyError``, ``PackInForceError``, ``ConfigError``). When
    a later one is not, the periods before it hold, and ``fault`` says so. Used by the writer; others read ``fault``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pack = pack_in_force(settings.state_dir)
        told = told_days(self._pack)
        check_periods(settings, told)
        self._periods = periods_of(settings, told)
        self._looked_at = time.monotonic()
        self.fault = ""

    def __call__(self) -> Periods:
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self.look()
        return self._periods

    def look(self) -> None:
        """Takes up the pack that was published since."""
        self._looked_at = time.monotonic()
        try:
            pack = pack_in_force(self._settings.state_dir)
            if pack != self._pack:
                told = told_days(pack)
                self._periods, self._pack = periods_of(self._settings, told), pack
                _log.info("what is kept follows a newly published pack")
                check_periods(self._settings, told)
            self.fault = ""
        except ConfigError as error:
            self.fault = f"{error}. Until then the setting has no effect"
        except (PackInForceError, PolicyError, OSError) as error:
            self.fault = f"what is deleted follows the pack before the published one: {error}"
