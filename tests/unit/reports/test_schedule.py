"""When the audit is due, and what comes due by itself against a whole school."""

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.reports.running import OVERDUE, Reports
from schoolkeeper_collector.reports.schedule import due
from schoolkeeper_collector.reports.snapshots import SCHEDULE, list_snapshots
from schoolkeeper_collector.school.pack_in_force import put_in_force
from schoolkeeper_collector.school.policy_review import Due, Review, review_at
from schoolkeeper_collector.store.tables import collector_facts
from schoolkeeper_policies.model import School as SchoolHours
from support.detection import Bench
from support.school import School
from support.stores import StoreUrls

LONDON = ZoneInfo("Europe/London")
HOURS = SchoolHours.model_validate(
    {
        "time_zone": "Europe/London",
        "hours": [
            {"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "from": "08:30", "to": "16:00"}
        ],
        "closed": ["2026-12-01"],
    }
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp() * 1000)


@pytest.mark.requirement("T-33", "W-67")
@pytest.mark.parametrize(
    ("last", "now", "months", "wanted"),
    [
        (None, "2026-11-23 15:59", 1, False),  # lessons
        (None, "2026-11-23 16:00", 1, True),
        (None, "2026-11-22 17:00", 1, False),  # Sunday
        (None, "2026-11-23 16:00", 0, False),  # off
        ("2026-11-02 16:05", "2026-11-30 17:00", 1, False),  # made in this month
        ("2026-11-02 16:05", "2026-12-01 17:00", 1, False),  # closed
        ("2026-11-02 16:05", "2026-12-02 17:00", 1, True),
        ("2026-11-02 16:05", "2026-12-17 17:00", 1, True),  # missed, and made up for
        ("2026-11-02 16:05", "2027-01-04 17:00", 3, False),
        ("2026-11-02 16:05", "2027-02-01 17:00", 3, True),
    ],
)
def test_the_first_day_of_school_after_school(last: str | None, now: str, months: int, wanted: bool) -> None:
    last_ms = None if last is None else at(last)
    assert due(Calendar(HOURS), LONDON, last_ms, months, at(now)) is wanted


@pytest.mark.requirement("T-01")
@pytest.mark.parametrize(
    ("day", "wanted", "days"),
    [
        (None, Due.NO_DATE, 0),
        (date(2026, 11, 21), Due.OVERDUE, -1),
        (date(2026, 11, 22), Due.SOON, 0),
        (date(2026, 12, 22), Due.SOON, 30),
        (date(2026, 12, 23), Due.LATER, 31),
    ],
)
def test_a_review_is_due_until_its_day_is_over(day: date | None, wanted: Due, days: int) -> None:
    assert review_at(day, date(2026, 11, 22)) == Review(due=wanted, day=day, days=days)


@pytest.mark.requirement("T-01", "T-33")
def test_each_comes_due_once(school: School) -> None:
    put_in_force(school.folder, "westgate-primary")  # its review was due in 2017
    reports = Reports(school.store, school.school_id, school.folder, months=1, stale_days=14)
    for moment in ("2026-11-23 10:00", "2026-11-23 17:00", "2026-11-24 17:00", "2026-12-10 17:00"):
        reports.step(at(moment))
    again = Reports(school.store, school.school_id, school.folder, months=1, stale_days=14)
    again.step(at("2026-12-11 17:00"))
    with school.store.read() as connection:
        made = list_snapshots(connection, school.school_id)
        facts = connection.execute(select(collector_facts).where(collector_facts.c.kind == OVERDUE)).all()
    assert [(one.at_ms, one.made_by) for one in made] == [
        (at("2026-12-10 17:00"), SCHEDULE),
        (at("2026-11-23 17:00"), SCHEDULE),
    ]
    assert [fact.fields for fact in facts] == ['{"review": "2017-04-30"}']


@pytest.mark.requirement("T-01")
def test_the_reminder_reaches_the_technician_as_an_alert(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = Bench.make(StoreUrls.of("sqlite", tmp_path, request))
    bench.fact(None, OVERDUE, review="2017-04-30")
    bench.run()
    (alert,) = bench.rows("alerts")
    assert (alert["rule_id"], alert["audience"]) == (OVERDUE, "technician")
    assert "2017-04-30" in str(alert["title"])
    bench.store.close()


@pytest.mark.parametrize("months", ["13", "-1", "monthly"])
def test_a_setting_that_does_not_fit_is_refused_by_name(months: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHOOLKEEPER_SNAPSHOT_MONTHS", months)
    with pytest.raises(ConfigError, match="snapshot_months"):
        load_settings()
