"""A device that says nothing in school time."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_policies.model import School, Term
from schoolkeeper_policies.parse import load_pack
from support.detection import HOUR_MS, Bench

LONDON = ZoneInfo("Europe/London")
SCHOOL = load_pack("default").school


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp() * 1000)


def hours(calendar: Calendar, start: str, end: str) -> float:
    return calendar.school_ms(ms(start), ms(end)) / HOUR_MS


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-23T09:00", "2026-11-23T10:30", 1.5),
        ("2026-11-23T06:00", "2026-11-23T20:00", 7.25),
        ("2026-11-20T15:00", "2026-11-23T09:00", 0.75 + 0.5),  # over a weekend
        ("2026-10-23T15:00", "2026-10-26T09:00", 0.75 + 0.5),  # and over the change of clocks
        ("2026-11-21T00:00", "2026-11-23T00:00", 0),
        ("2026-11-23T10:00", "2026-11-23T09:00", 0),
    ],
)
def test_school_time_is_counted_in_the_schools_own_zone(start: str, end: str, expected: float) -> None:
    assert hours(Calendar(SCHOOL), start, end) == expected


def test_holidays_and_closed_days_are_no_school_time() -> None:
    term = Term(name="autumn", first=date(2026, 9, 1), last=date(2026, 10, 23))
    school = School.model_validate(
        {**SCHOOL.model_dump(by_alias=True), "terms": [term], "closed": ["2026-10-22"]}
    )
    calendar = Calendar(school)
    assert hours(calendar, "2026-10-26T08:00", "2026-10-30T18:00") == 0
    assert hours(calendar, "2026-10-22T08:00", "2026-10-22T18:00") == 0
    assert hours(calendar, "2026-10-21T08:00", "2026-10-21T18:00") == 7.25


def test_a_silent_device_is_named_once_and_forgotten_when_it_is_heard(bench: Bench) -> None:
    monday = ms("2026-11-23T09:00")
    silent = bench.device("silent", last_contact_ms=monday)
    bench.device("fine", last_contact_ms=monday + 5 * HOUR_MS)
    bench.device("never", last_contact_ms=None, enrolled_ms=monday)
    bench.device("gone", last_contact_ms=monday, status="revoked")
    bench.run(monday + 3 * HOUR_MS)
    assert bench.rows("alerts") == []
    for minute in range(3):
        bench.run(monday + 5 * HOUR_MS + minute * 60_000)
    found = bench.rows("alerts")
    assert {row["rule_id"] for row in found} == {"device.silent"}
    assert {row["findings"] for row in found} == {1}
    assert len(found) == 2
    assert {row["audience"] for row in found} == {"technician"}
    bench.heard(silent, monday + 6 * HOUR_MS)
    bench.run(monday + 6 * HOUR_MS)
    assert sorted(str(row["state"]) for row in bench.rows("alerts")) == ["closed", "open"]


def test_nothing_is_silent_at_night_or_over_the_weekend(bench: Bench) -> None:
    friday = ms("2026-11-20T15:40")
    bench.device(last_contact_ms=friday)
    bench.run(ms("2026-11-23T08:00"))
    assert bench.rows("alerts") == []
    bench.run(ms("2026-11-23T12:30"))
    assert len(bench.rows("alerts")) == 1
