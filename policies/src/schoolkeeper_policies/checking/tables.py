"""The school's tables: a timed answer needs its times, a nominated one its people, and every category must be there."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies import model
from schoolkeeper_policies.categories import shipped_names, told_of
from schoolkeeper_policies.checking.names import RULE_PARTS, File, Names
from schoolkeeper_policies.checking.rules import check_categories, check_matches, check_people, check_when
from schoolkeeper_policies.matrices import rule_id
from schoolkeeper_policies.model import Answer
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_policies.validate import suggest

_RULE_ID_MAX = 64


def check_tables(files: list[File], names: Names) -> Iterator[Problem]:
    """Every mistake in matrices and categories."""
    shown = told_of([file for _, file in files])
    first: dict[str, Position] = {}
    for source, file in files:
        for number, matrix in enumerate(file.matrices):
            for index, row in enumerate(matrix.rows):
                path: Path = ("matrices", number, "rows", index)
                at = source.at((*path, "id"))
                if row.id in first:
                    reason = f"the row {row.id!r} is already there, in {first[row.id]}"
                    yield Problem(position=at, reason=reason, remedy="keep one of them")
                first.setdefault(row.id, at)
                yield from _row(source, path, matrix, row, names)
        for number, category in enumerate(file.categories):
            path = ("categories", number)
            if category.name in shown:
                yield from _called(source, path, category, names)
            yield from check_matches(source, (*path, "applications"), category.applications, names)
            for index, match in enumerate(category.applications):
                if match.category is not None:
                    remedy = "write its programs out, or name both categories in the rule"
                    yield source.problem(
                        (*path, "applications", index), "a category within a category", remedy
                    )


def _called(source: Source, path: Path, category: model.Category, names: Names) -> Iterator[Problem]:
    """The product's own have words; of any other the notice would show the name that stands here."""
    if category.name in shipped_names() or names.unsure_of("notice"):
        return
    if "plain" not in category.words.get(names.language, {}):
        yield source.problem(
            path,
            f"people would read the category's name {category.name!r} as it stands",
            f"add 'words:', as {{{names.language}: {{plain: board games}}}}",
        )


def _row(source: Source, path: Path, matrix: model.Matrix, row: model.Row, names: Names) -> Iterator[Problem]:
    yield from check_categories(source, (*path, "applications"), row.applications, names)
    yield from check_categories(source, (*path, "sites"), row.sites, names)
    yield from check_people(source, (*path, "nominated"), row.nominated, names)
    if row.when is not None:
        yield from check_when(source, (*path, "when"), row.when, names)
        if row.when.user_groups:
            remedy = "name an audience instead"
            yield source.problem((*path, "when"), "a row has no groups of the operating system", remedy)
    for number, name in enumerate(row.rules):
        if name not in names.rules and not names.unsure_of(*RULE_PARTS):
            remedy = suggest(name, sorted(names.rules), "rules")
            yield source.problem((*path, "rules", number), f"there is no rule {name!r}", remedy)
    if row.exceptions and (row.applications or row.sites or row.rules):
        remedy = "write it as an exception of the rule that carries the row out, or grant it"
        yield source.problem((*path, "exceptions"), f"devices keep the row {row.id}", remedy)
    for audience, answer in row.answers.items():
        at = (*path, "answers", audience)
        if audience not in names.audiences() and not names.unsure_of("people"):
            remedy = suggest(audience, names.audiences(), "groups of people")
            yield source.problem(at, f"there is no group of people {audience!r}", remedy)
        made = rule_id(matrix, row, audience)
        if len(made) > _RULE_ID_MAX:
            reason = f"the rule made of it would be called {made!r}, longer than {_RULE_ID_MAX} characters"
            yield source.problem(at, reason, "shorten the matrix's id")
        if row.applications or row.sites:
            yield from _answer(source, path, row, audience, answer)


def _answer(source: Source, path: Path, row: model.Row, audience: str, answer: Answer) -> Iterator[Problem]:
    at = (*path, "answers", audience)
    said = row.permission is not None if row.when is None else _says_when(row.when)
    if answer is Answer.AT_CERTAIN_TIMES and not said:
        yield source.problem(
            at,
            f"{row.id} is acceptable at certain times for {audience}, and says not when",
            "add 'when:' with times, periods, school_hours or places, or 'permission:' if staff set them by opening a "
            "lesson; until the school decides: unacceptable",
        )
    if answer is Answer.NOMINATED_USERS and not row.nominated:
        yield source.problem(
            at,
            f"{row.id} is acceptable for nominated users, and nominates nobody",
            "add 'nominated:' with groups of people; one may be 'empty_on_purpose'",
        )


def _says_when(when: model.When) -> bool:
    return bool(when.times or when.periods or when.school_hours or when.places)
