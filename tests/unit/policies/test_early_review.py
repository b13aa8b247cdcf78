"""A review of the policy that was opened before its day: due by its own day, until it is done (T-01)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schoolkeeper_collector.school.pack_in_force import put_in_force
from schoolkeeper_collector.school.policy_review import Due, PolicyReview
from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from support.language import pack

OPENED = "{opened: 2026-11-02, because: new-threat, about: a new way around the filter, by: %s}"


def with_reviews(tmp_path: Path, *reviews: str, review: str = "review: 2027-06-01") -> Path:
    folder = pack(tmp_path)
    base = folder / "base.yaml"
    held = f"pack: {{format: 1, name: mine, {review}, description: d, early_reviews: [{', '.join(reviews)}]}}"
    base.write_text(base.read_text().replace("pack: {format: 1, name: mine, description: d}", held))
    return folder


@pytest.mark.requirement("T-01")
def test_an_early_review_takes_the_place_of_the_next_one_until_it_is_done(tmp_path: Path) -> None:
    opened = with_reviews(tmp_path, OPENED % "2026-11-20")
    assert load_pack(opened).about.review_by() == date(2026, 11, 20)
    state = tmp_path / "state"
    state.mkdir()
    put_in_force(state, opened)
    shown = PolicyReview().at(state, date(2026, 11, 23))
    assert (shown.due, shown.days) == (Due.OVERDUE, -3), "as the console's health page has it"
    base = opened / "base.yaml"
    base.write_text(base.read_text().replace("by: 2026-11-20}", "by: 2026-11-20, done: 2026-11-19}"))
    put_in_force(state, opened)
    again = PolicyReview().at(state, date(2026, 11, 23))
    assert (again.due, again.day) == (Due.LATER, date(2027, 6, 1))


def test_a_later_day_than_the_years_own_changes_nothing(tmp_path: Path) -> None:
    assert load_pack(with_reviews(tmp_path, OPENED % "2027-09-01")).about.review_by() == date(2027, 6, 1)


def test_without_a_days_review_an_early_one_counts(tmp_path: Path) -> None:
    folder = with_reviews(tmp_path, OPENED % "2027-09-01", review="other_groups: refuse")
    assert load_pack(folder).about.review_by() == date(2027, 9, 1)


def test_check_says_what_is_open_and_refuses_days_in_disorder(tmp_path: Path) -> None:
    folder = with_reviews(tmp_path, OPENED % "2026-11-20")
    found = advise(folder, date(2026, 11, 23))
    said = [str(one) for one in found if "opened early" in str(one)]
    assert len(said) == 1
    assert "new-threat: a new way around the filter" in said[0]
    assert "that day is over" in said[0]
    base = folder / "base.yaml"
    base.write_text(base.read_text().replace("by: 2026-11-20", "by: 2026-10-01"))
    with pytest.raises(PolicyError, match="'by' is before it was opened"):
        load_pack(folder)
