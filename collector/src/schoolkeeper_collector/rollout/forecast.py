"""How many refusals a rollout is held against: a number, or the file that a plan with its backtest was written to.

``schoolkeeper-collector policy plan --json`` and ``schoolkeeper-policy plan --json`` write it. A plan is of two
policies: it is taken only if they are the very ones, by content, that are in force and staged here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.rollout.gate import Sign
from schoolkeeper_collector.rollout.measuring import KINDS
from schoolkeeper_collector.rollout.rings import RingsError
from schoolkeeper_collector.store.tables import devices, events
from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_proto.bundle import content_hash
from schoolkeeper_proto.codec import kind_number

DAY_MS = 86_400_000
_MAX_BYTES = 16 << 20
_MORE = frozenset({"refused", "limited"})
_FEWER = frozenset({"started after all", "freed"})
AGAIN = "write it anew: `schoolkeeper-collector policy plan --pack PACK --json > FILE`"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a forecast needs of a plan. Times in Unix milliseconds.

    ``contents``: group -> hashes, in hexadecimal, of what is in force (empty: nothing) and what is to come. ``more``:
    refusals that would have been added, less those that would not have been, in all of the time.
    """

    contents: dict[str, tuple[str, str]]
    since_ms: int
    until_ms: int
    devices: int
    more: int


def refusals_expected(
    text: str, connection: Connection, school_id: str, group: str, held: bytes, bundle: bytes
) -> int:
    """Per 1000 device-days under ``bundle``, which follows ``held``. ``text``: a number, or a file's name.

    From a file: what the group's devices refused in the plan's time, and what the backtest adds. Raises ``RingsError``.
    """
    if text.isdecimal():
        return int(text)
    plan = read_plan(Path(text))
    _check_contents(plan, text, group, held, bundle)
    days = (plan.until_ms - plan.since_ms) / DAY_MS
    refused, members = _refused(connection, school_id, group, plan)
    if not plan.devices or days <= 0:
        raise RingsError(f"--forecast {text}: the plan was tried against no events of any device: {AGAIN}")
    rate = (refused / (max(1, members) * days)) + plan.more / (plan.devices * days)
    return max(0, math.ceil(1000 * rate))


def read_plan(path: Path) -> PlanFile:
    """Raises ``RingsError`` naming the file and what is wrong with it."""
    data = b""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RingsError(f"--forecast {path}: {path.stat().st_size} bytes are no plan: {AGAIN}")
        data = path.read_bytes()
        said = json.loads(data)
    except OSError as error:
        raise RingsError(
            f"--forecast {path}: neither a number of refusals per 1000 device-days nor a file that can be read "
            f"({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RingsError(wrong_kind(f"--forecast {path}", "a plan in JSON", data, AGAIN)) from error
    if not isinstance(said, dict) or said.get("format") != 1 or "changes" not in said:
        raise RingsError(wrong_kind(f"--forecast {path}", "a plan of version 1", data, AGAIN))
    if "bundles" not in said:
        raise RingsError(f"--forecast {path}: the plan does not say of which policies it is: {AGAIN}")
    if not said.get("backtest"):
        raise RingsError(f"--forecast {path}: the plan was not tried against events: {AGAIN}")
    try:
        return _plan(said)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RingsError(f"--forecast {path}: the plan is damaged ({error!r}): {AGAIN}") from error


def _plan(said: dict[str, Any]) -> PlanFile:
    tried = said["backtest"]
    counts = [(str(effect["effect"]), int(effect["count"])) for effect in tried["effects"]]
    return PlanFile(
        contents={
            str(group): (str(one["in_force"] or ""), str(one["to_come"]))
            for group, one in said["bundles"].items()
        },
        since_ms=int(tried["since_unix_ms"]),
        until_ms=int(tried["until_unix_ms"]),
        devices=int(tried["devices"]),
        more=sum(n for effect, n in counts if effect in _MORE)
        - sum(n for effect, n in counts if effect in _FEWER),
    )


def _check_contents(plan: PlanFile, text: str, group: str, held: bytes, bundle: bytes) -> None:
    found = plan.contents.get(group)
    if found is None:
        raise RingsError(
            f"--forecast {text}: the plan is of {', '.join(sorted(plan.contents)) or 'no group'}, "
            f"not of {group}: {AGAIN}"
        )
    for what, said, here in (("in force", found[0], held), ("staged now", found[1], bundle)):
        if said != content_hash(here).hex():
            raise RingsError(
                f"--forecast {text}: the policy of {group} that is {what} is another than the plan's "
                f"({said[:12] or 'none'}, here {content_hash(here).hex()[:12]}): {AGAIN}"
            )


def _refused(connection: Connection, school_id: str, group: str, plan: PlanFile) -> tuple[int, int]:
    """Refusals that the group's devices reported in the plan's time, and how many devices that are."""
    members = (
        devices.c.school_id == school_id,
        devices.c.device_group == group,
        devices.c.status == "active",
    )
    kinds = [kind_number(cls.KIND) for cls in KINDS[Sign.REFUSALS]]
    counted = connection.execute(
        select(func.count())
        .select_from(events.join(devices, devices.c.device_no == events.c.device_no))
        .where(
            *members,
            events.c.school_id == school_id,
            events.c.event_ms >= plan.since_ms,
            events.c.event_ms < plan.until_ms,
            events.c.kind.in_(kinds),
        )
    ).scalar()
    count = connection.execute(select(func.count()).select_from(devices).where(*members)).scalar()
    return int(counted or 0), int(count or 0)
