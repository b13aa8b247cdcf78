"""The model week: the same for one seed, in order, and as much as the data file says."""

from collections import Counter

from schoolkeeper_proto import model
from schoolkeeper_proto.codec import decode, encode
from support.fleet import school_week

MONDAY = 1_795_392_000_000  # Unix milliseconds


def test_the_same_seed_gives_the_same_week_and_another_seed_another() -> None:
    week = school_week.load()
    first = list(school_week.device_week(week, 7))
    assert first == list(school_week.device_week(week, 7))
    assert first != list(school_week.device_week(week, 7, seed=2))
    assert [p.at_ms for p in first] == sorted(p.at_ms for p in first)


def test_a_school_day_has_as_many_events_as_the_data_says() -> None:
    week = school_week.load()
    kinds = Counter(
        planned.body.KIND
        for device in range(80)
        for planned in school_week.device_week(week, device)
        if planned.at_ms % school_week.DAY_MS < week.evening[0]
    )
    days = 80 * week.days * week.in_use
    for habit in week.habits:
        expected = habit.mean * days
        assert abs(kinds[habit.kind] - expected) < 4 * expected**0.5 + 0.1 * expected, habit


def test_events_carry_the_time_at_which_they_are_reported() -> None:
    week = school_week.load()
    for number, planned in enumerate(school_week.device_week(week, 1)):
        now = MONDAY + planned.at_ms
        event = school_week.as_event(planned, number=number, device=1, wall_ms=now, monotonic_ms=5)
        assert decode(model.Event, encode(event)) == event
        if isinstance(event.body, model.Posture):
            assert event.body.evaluated_at_unix_ms == now


def test_the_endless_week_goes_on_where_one_ends() -> None:
    week = school_week.load()
    count = len(list(school_week.device_week(week, 3)))
    endless = school_week.endless(week, 3)
    found = [next(endless).at_ms for _ in range(count + 50)]
    assert found == sorted(found)
