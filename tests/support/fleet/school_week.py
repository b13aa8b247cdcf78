"""The model school week: for each device a stream of events with real kinds, shapes and times, the same for one seed.

``tests/data/school_week.yaml`` says how much; this says what it looks like. Times are milliseconds since Monday
00:00 of the model week.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from schoolkeeper_agent.decisions import lane_of
from schoolkeeper_proto import model
from schoolkeeper_proto.wire import Lane
from support.fleet import shapes

DATA: Final = Path(__file__).resolve().parents[2] / "data" / "school_week.yaml"
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """One kind of event and how often a device in use has it on a school day."""

    kind: str
    mean: float
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """Times of day in milliseconds since midnight."""

    devices: int
    days: int
    opens: int
    lessons_from: int
    lessons_to: int
    closes: int
    in_use: float
    habits: tuple[Habit, ...]
    evenings: float
    """Device-evenings a week, divided by devices and days."""
    evening_events: int
    evening: tuple[int, int]

    def span(self, when: str) -> tuple[int, int]:
        match when:
            case "lessons":
                return self.lessons_from, self.lessons_to
            case "morning":
                return self.opens, self.lessons_from
            case _:
                return self.opens, self.closes

    @property
    def events_per_device_day(self) -> float:
        """Of a device in use."""
        return sum(habit.mean for habit in self.habits)

    @property
    def events_per_second(self) -> float:
        """Of one device in use, on the mean over the hours in which the school is open."""
        return self.events_per_device_day / ((self.closes - self.opens) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One event to come; ``at_ms`` since Monday 00:00."""

    at_ms: int
    lane: Lane
    body: model.Body
    user: model.UserRef
    place: model.Place
    severity: model.Severity


@cache
def load(path: Path = DATA) -> Week:
    """The week in the data file. Raises KeyError or ValueError for a file of another shape."""
    with path.open() as file:
        data: dict[str, Any] = YAML(typ="safe", pure=True).load(file)
    days, evenings = data["days"], data["evenings"]
    devices = int(data["school"]["devices"])
    return Week(
        devices=devices,
        days=int(days["count"]),
        opens=_clock(days["opens"]),
        lessons_from=_clock(days["lessons_from"]),
        lessons_to=_clock(days["lessons_to"]),
        closes=_clock(days["closes"]),
        in_use=float(days["devices_in_use"]),
        habits=tuple(Habit(kind=h["kind"], mean=float(h["mean"]), when=h["when"]) for h in data["daily"]),
        evenings=float(evenings["device_evenings"]) / devices / int(days["count"]),
        evening_events=int(evenings["events_each"]),
        evening=(_clock(evenings["from"]), _clock(evenings["to"])),
    )


def device_week(week: Week, device: int, seed: int = 1) -> Iterator[Planned]:
    """The week of one device, in order of time."""
    for day in range(week.days):
        chance = random.Random(f"{seed}/{device}/{day}")
        used = chance.random() < week.in_use
        moments: list[tuple[int, str]] = []
        if used:
            for habit in week.habits:
                moments += [(at, habit.kind) for at in _times(week, habit, chance)]
        if chance.random() < week.evenings:
            begin, end = week.evening
            moments += [
                (chance.randrange(begin, end), _quiet(chance, week)) for _ in range(week.evening_events)
            ]
        person = chance.randrange(200)
        for at, kind in sorted(moments):
            evening = at >= week.evening[0]
            body, severity = shapes.body_of(kind, chance, device=device, at_ms=day * DAY_MS + at)
            yield Planned(
                at_ms=day * DAY_MS + at,
                lane=lane_of(body),
                body=body,
                user=shapes.user(person),
                place=model.Place.OFF_SITE if evening else model.Place.ON_SITE,
                severity=severity,
            )


def endless(week: Week, device: int, seed: int = 1) -> Iterator[Planned]:
    """One week after another, from the opening of the school on Monday on; nights and week-ends are left out.

    Nothing happens in what is left out, and whoever plays the week would wait for it.
    """
    offset, lap = 0, 0
    while True:
        last = 0
        for planned in device_week(week, device, seed + lap):
            day, at = divmod(planned.at_ms, DAY_MS)
            open_hours = week.evening[1] - week.opens
            when = offset + day * open_hours + max(at - week.opens, 0)
            last = max(last, when)
            yield Planned(
                at_ms=when,
                lane=planned.lane,
                body=planned.body,
                user=planned.user,
                place=planned.place,
                severity=planned.severity,
            )
        offset, lap = offset + week.days * (week.evening[1] - week.opens), lap + 1


def as_event(planned: Planned, *, number: int, device: int, wall_ms: int, monotonic_ms: int) -> model.Event:
    """The event as an agent would report it at this moment; its id depends on device and number alone."""
    tail = hashlib.sha256(b"%d/%d" % (device, number)).digest()
    stamp = wall_ms.to_bytes(6, "big")
    event_id = stamp + bytes([0x70 | tail[0] & 0x0F, tail[1], 0x80 | tail[2] & 0x3F]) + tail[3:10]
    return model.Event(
        id=model.EventId(event_id),
        wall_unix_ms=wall_ms,
        monotonic_ms=monotonic_ms,
        boot_id=hashlib.sha256(b"boot/%d" % device).digest()[:16],
        body=_dated(planned.body, wall_ms - planned.at_ms),
        place=planned.place,
        user=planned.user,
        severity=planned.severity,
    )


def _dated(body: model.Body, offset_ms: int) -> model.Body:
    """The body with its own times, which count from Monday of the model week, as Unix times."""
    shift = {
        field.name: value + offset_ms
        for field in dataclasses.fields(body)
        if field.name.endswith("_unix_ms") and (value := getattr(body, field.name))
    }
    return dataclasses.replace(body, **shift) if shift else body


def _times(week: Week, habit: Habit, chance: random.Random) -> list[int]:
    begin, end = week.span(habit.when)
    if habit.when == "hourly":
        hours = list(range(week.lessons_from, week.lessons_to, HOUR_MS))
        count = min(_poisson(habit.mean, chance), 3 * len(hours))
        return [chance.choice(hours) + HOUR_MS + chance.randrange(60_000) for _ in range(count)]
    if habit.kind == "heartbeat":  # a machine's own rhythm
        step = (end - begin) / habit.mean
        first = chance.random() * step
        return [int(begin + first + step * n) for n in range(round(habit.mean))]
    return [chance.randrange(begin, end) for _ in range(_poisson(habit.mean, chance))]


def _quiet(chance: random.Random, week: Week) -> str:
    """At home a device mostly says that it is on; safeguarding kinds stay rare."""
    habits = [habit for habit in week.habits if habit.mean >= 1]
    return chance.choices([habit.kind for habit in habits], [habit.mean for habit in habits])[0]


def _poisson(mean: float, chance: random.Random) -> int:
    """Knuth's method; the means here are small."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def _clock(text: str) -> int:
    hours, minutes = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000
