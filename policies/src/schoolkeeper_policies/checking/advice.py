"""What is no mistake and worth a look. It stops nothing: a pack with advice compiles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path as FilePath
from typing import Literal

from schoolkeeper_policies import model
from schoolkeeper_policies.categories import shipped_names, told_of
from schoolkeeper_policies.checking.assessments import advise_assessments
from schoolkeeper_policies.checking.names import File
from schoolkeeper_policies.checking.overlaps import covered_rules
from schoolkeeper_policies.checks import rules_of
from schoolkeeper_policies.matrices import expand
from schoolkeeper_policies.parse import load_pack, pack_folder, read_files
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.source import Path, Source

_REVIEW = timedelta(days=366)


def advise(
    name_or_path: str | FilePath, today: date, loaded: model.Pack | None = None
) -> tuple[Problem, ...]:
    """Everything worth a look on that day, sorted; raises ``PolicyError`` for a pack with mistakes.

    ``loaded`` is the pack if the caller has read it already.
    """
    pack = loaded or load_pack(name_or_path)
    root = pack_folder(name_or_path)
    files = read_files(root).files
    found = [
        *_covered(files, pack),
        *_review(files, today),
        *advise_assessments(files, today),
        *(one for source, file in files for one in _school(source, file, today)),
        *_exceptions(files, today),
        *_open(files),
        *_places(files, pack),
        *_categories(files, pack, today),
        *_words(files, pack),
        *_unread(root),
    ]
    return tuple(sorted(set(found)))


def _covered(files: list[File], pack: model.Pack) -> Iterator[Problem]:
    rows: dict[str, tuple[Source, Path]] = {
        row.id: (source, ("matrices", m, "rows", r))
        for source, file in files
        for m, matrix in enumerate(file.matrices)
        for r, row in enumerate(matrix.rows)
    }
    made = expand(pack)
    of_row = {rule.id: rule.source[0] for rule in (*made.applications, *made.sites)}
    for pair in covered_rules(pack) if of_row else ():
        row = of_row.get(pair.weaker)
        if row is None:
            continue
        source, path = rows[row]
        other = of_row.get(pair.stronger, pair.stronger)
        if pair.same:
            reason = f"{row} says of {pair.section} what {other} says already"
        else:
            reason = f"{row} never decides on {pair.section}: {other} is stricter"
        yield source.problem(path, reason, "the stricter holds; let the school decide which of them it means")


def _review(files: list[File], today: date) -> Iterator[Problem]:
    for source, file in files:
        review = file.pack.review if file.pack is not None else None
        if review is not None and review < today:
            reason = f"the policy was to be looked at again by {review}"
            yield source.problem(("pack", "review"), reason, "review it, and set the next day")
        for number, early in enumerate(file.pack.early_reviews if file.pack is not None else ()):
            if early.done is None:
                late = ", and that day is over" if early.by < today else ""
                why = f"{early.because}: {early.about}"
                reason = f"a review was opened early on {early.opened} ({why}), due {early.by}{late}"
                remedy = "review the policy, and write the day under 'done'"
                yield source.problem(("pack", "early_reviews", number), reason, remedy)


def _school(source: Source, file: model.PackFile, today: date) -> Iterator[Problem]:
    school = file.school
    if school is None:
        return
    if school.terms and max(term.last for term in school.terms) < today:
        reason = "every term of the pack is over; some weeks after the last one every day counts as a day of school"
        yield source.problem(("school", "terms"), reason, "add the new terms")
    for number, closed in enumerate(school.closed):
        if school.terms and not any(term.first <= closed <= term.last for term in school.terms):
            yield source.problem(("school", "closed", number), f"{closed} lies in no term", "leave it out")
    for number, site in enumerate(school.sites):
        kinds = [bool(site.marks.gateway_mac), bool(site.marks.ssid), bool(site.marks.dns_suffix)]
        if site.marks.ssid and (site.kinds_needed == 1):
            yield source.problem(
                ("school", "sites", number),
                f"anyone with a telephone can imitate the wireless network of {site.name!r}",
                "add another kind of mark and 'kinds_needed: 2'"
                if sum(kinds) < 2
                else "add 'kinds_needed: 2'",
            )


def _exceptions(files: list[File], today: date) -> Iterator[Problem]:
    for source, file in files:
        for path, given in _excepted(file):
            if given.until is not None and given.until < today:
                yield source.problem(
                    (*path, "until"), f"the exception {given.id!r} ended on {given.until}", "take it out"
                )
        for number, override in enumerate(file.overrides):
            if override.review < today:
                reason = (
                    f"the override {override.id!r} was to be decided again by {override.review}: it has ended"
                )
                yield source.problem(("overrides", number, "review"), reason, "decide again, or take it out")


def _excepted(file: model.PackFile) -> Iterator[tuple[Path, model.RuleException | model.RowException]]:
    """The exceptions of rules, and those that are kept at rows which no device sees."""
    for path, rule in rules_of(file):
        for number, given in enumerate(rule.exceptions):
            yield (*path, "exceptions", number), given
    for m, matrix in enumerate(file.matrices):
        for r, row in enumerate(matrix.rows):
            for number, kept in enumerate(row.exceptions):
                yield ("matrices", m, "rows", r, "exceptions", number), kept


def _open(files: list[File]) -> Iterator[Problem]:
    for source, file in files:
        for number, decision in enumerate(file.open_decisions):
            yield source.problem(
                ("open_decisions", number),
                f"open decision {decision.id}: {decision.about}",
                f"in force until the school decides: {decision.in_force}",
            )


def _places(files: list[File], pack: model.Pack) -> Iterator[Problem]:
    if pack.school.sites:
        return
    for source, file in files:
        for path, rule in rules_of(file):
            if rule.when is not None and rule.when.places:
                yield source.problem(
                    (*path, "when", "places"),
                    "the school names no site: a device's place is unknown, and a stricter rule holds everywhere",
                    "add 'sites:' to the school",
                )


def _unread(root: FilePath) -> Iterator[Problem]:
    """Files in folders of the pack that are not read; what is hidden (``.git``) is nobody's rule."""
    for path in sorted(root.glob("*/**/*.y*ml")):
        parts = path.relative_to(root).parts
        if path.suffix in (".yaml", ".yml") and parts[:-1] != ("detection",) and not parts[0].startswith("."):
            at = Position(file=str(path.relative_to(root.parent)))
            reason = "a file in a folder of the pack is not read"
            yield Problem(
                position=at, reason=reason, remedy="put it beside the others, if it is a part of the pack"
            )


def _words(files: list[File], pack: model.Pack) -> Iterator[Problem]:
    """Categories of the school's own without words in a language that people may read the notice in."""
    shown = told_of([file for _, file in files])
    languages: dict[Literal["en", "cy"], str] = {"en": "English", "cy": "Welsh"}
    for source, file in files:
        for number, one in enumerate(file.categories):
            if one.name in shipped_names() or one.name not in shown:
                continue
            for code, language in languages.items():
                if code != pack.notice.language and "plain" not in one.words.get(code, {}):
                    reason = f"a notice in {language} shows the words for {one.name!r} of another language"
                    yield source.problem(
                        ("categories", number), reason, f"add plain words for {code!r} to 'words:'"
                    )


def _categories(files: list[File], pack: model.Pack, today: date) -> Iterator[Problem]:
    own: dict[str, tuple[Source, Path]] = {
        one.name: (source, ("categories", n))
        for source, file in files
        for n, one in enumerate(file.categories)
    }
    for category in pack.categories:
        if category.reviewed is not None and today - category.reviewed > _REVIEW and category.name in own:
            source, path = own[category.name]
            reason = f"nobody has looked at the category {category.name!r} since {category.reviewed}"
            yield source.problem(path, reason, "look at it and set 'reviewed:'")
