"""The register of assessed technology: the same thing twice is a mistake, a day that has passed is advice (W-55)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from schoolkeeper_policies.checking.names import File
from schoolkeeper_policies.problems import Position, Problem


def check_assessments(files: list[File]) -> Iterator[Problem]:
    """Every technology that is assessed twice: nobody could say which of the two holds."""
    first: dict[str, Position] = {}
    for source, file in files:
        for number, one in enumerate(file.assessments):
            at = source.at(("assessments", number))
            if one.key in first:
                reason = f"{one.about!r} is already assessed, in {first[one.key]}"
                yield Problem(position=at, reason=reason, remedy="keep the later one")
            first.setdefault(one.key, at)


def advise_assessments(files: list[File], today: date) -> Iterator[Problem]:
    """Reviews that are overdue, and assessments of a day that is yet to come."""
    for source, file in files:
        for number, one in enumerate(file.assessments):
            path = ("assessments", number)
            if one.review < today:
                reason = f"{one.about!r} was to be assessed again by {one.review}"
                yield source.problem((*path, "review"), reason, "assess it again, and set the next day")
            if one.assessed_on > today:
                reason = f"{one.about!r} is said to be assessed on {one.assessed_on}, which is yet to come"
                yield source.problem((*path, "assessed_on"), reason, "give the day on which it was assessed")
