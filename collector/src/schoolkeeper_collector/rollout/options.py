"""What ``stage`` was told about a rollout, and what that brings to the staged targets."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from schoolkeeper_collector.config import Settings
from schoolkeeper_collector.rollout import planning, state
from schoolkeeper_collector.rollout.forecast import refusals_expected
from schoolkeeper_collector.rollout.gate import State
from schoolkeeper_collector.rollout.rings import RingsError, parse_rings
from schoolkeeper_collector.school.repository import Published, Repository
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.migrate import check_schema
from schoolkeeper_proto.policy import RolloutTerms

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOptions:
    """``rings`` empty: everybody at once. ``forecast``: refusals per 1000 device-days, or a plan's file; empty: the
    devices' own past."""

    rings: str = ""
    soak: str = "24h"
    forecast: str = ""
    in_lessons: str = ""


def staged_rollout(
    settings: Settings,
    school_id: str,
    repository: Repository,
    held: Published,
    group: str,
    bundle: bytes,
    options: RolloutOptions,
    now_ms: int,
) -> planning.Staged:
    """The plan and the old bundle beside ``bundle``, or their removal. Raises ``RingsError``, ``RepositoryError``."""
    if not options.rings:
        if options.in_lessons or options.forecast:
            raise RingsError("--forecast and --in-lessons say how rings open: give --rings, too")
        return planning.without_rings(held, group)
    soak = soak_seconds(options.soak)
    expected = None
    with closing(open_store(settings.store_url, settings.keys_url)) as store:
        check_schema(store)
        with store.read() as connection:
            rings = parse_rings(options.rings, connection, school_id, group)
            plan = held.plans.get(group)
            before = state.held(connection, school_id).get(plan.rollout_id) if plan else None
            if options.forecast and group in held.bundles:
                old = planning.bundle_in_force(repository, held, group)
                expected = refusals_expected(options.forecast, connection, school_id, group, old, bundle)
    terms = RolloutTerms(
        soak_seconds=soak, refusals_per_1000_device_days=expected, in_lessons_because=options.in_lessons
    )
    # A plan that nobody has begun yet has reached nobody.
    unfinished = plan is not None and (before is None or before.state is not State.DONE)
    return planning.with_rings(
        repository, held, group, bundle, rings, terms, unfinished=unfinished, now_ms=now_ms
    )


def soak_seconds(text: str) -> int:
    """``30m``, ``24h``, ``2d``; seconds for a rehearsal. Raises ``RingsError``."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or not 0 < int(number) * _UNITS[unit] <= 30 * 86_400:
        raise RingsError(f"--soak {text!r}: write it as 30m, 24h or 2d, at most 30d")
    return int(number) * _UNITS[unit]
