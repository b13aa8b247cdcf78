"""A pack with mistakes: which parts could not be read whole, and what of it can be asked for dead rules all the same.

A rule is asked only if nothing it rests on is in doubt: no mistake is within it, and every part that it takes something
from (its groups, people, times, categories) was read whole. So no mistake is said that only follows from another.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from schoolkeeper_policies import model
from schoolkeeper_policies.checking.clocks import time_zones
from schoolkeeper_policies.checking.names import File
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.source import Source

PARTS = frozenset(model.PackFile.model_fields)
_ASKED = ("applications", "media", "sites", "network", "peripherals")
_TABLES_NEED = frozenset({"school", "people", "groups", "categories"})
_SAFE_ZONE = "Europe/London"
_STAND_IN = model.PackFile.model_validate(
    {
        "pack": {"format": 1, "name": "unread", "description": "-", "other_groups": "rules-for-all"},
        "school": {
            "time_zone": _SAFE_ZONE,
            "hours": [{"days": ["monday"], "from": "08:30", "to": "15:30"}],
        },
        "collection": {},
        "notice": {"title": "-", "introduction": "-", "not_watched": ["-"], "sign_in_notice": "-"},
    }
)
"""For what no file says, or says wrongly: nothing that is asked here rests on it."""


def lost_in_text(text: str) -> frozenset[str]:
    """The parts of a file that is no YAML, by the words that begin its lines; every part where none does."""
    keys = re.findall(r"^[\"']?([A-Za-z_]+)[\"']?[ \t]*:", text, re.MULTILINE)
    return frozenset(part for key in keys if (part := _meant(key))) or PARTS


def lost_in_document(source: Source, valid: Source | None) -> frozenset[str]:
    """The parts of a document of which more than a key of one item had to be left out; ``valid`` is what is left."""
    if not isinstance(source.value, dict):
        return PARTS if source.value is not None else frozenset()
    left = valid.value if valid is not None and isinstance(valid.value, dict) else {}
    return frozenset(
        part
        for key, value in source.value.items()
        if _shrunk(value, left.get(key)) and (part := _meant(key)) is not None
    )


def _meant(key: str) -> str | None:
    """The part that a key is, or that its author meant."""
    near = difflib.get_close_matches(key, sorted(PARTS), n=1, cutoff=0.6)
    return near[0] if near else None


def _shrunk(before: object, after: object) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return len(before) != len(after)
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() != after.keys()
    return after is None and before is not None


def sound_part(
    files: list[File], problems: Iterable[Problem], lost: frozenset[str]
) -> list[model.PackFile] | None:
    """What of the files can be asked for rules that never decide; None: nothing can.

    ``problems`` are all that are known, those among them that may follow from others. Where an override is lost nothing
    is asked: it may take somebody out of any rule.
    """
    if "overrides" in lost:
        return None
    spoiled = _around(files, problems)
    kept = [_sound(source, file, spoiled, lost) for source, file in files]
    return [*kept, _STAND_IN]


def _around(files: list[File], problems: Iterable[Problem]) -> frozenset[Position]:
    """The places of every key and value within which a mistake is."""
    wrong = {problem.position for problem in problems}
    found: set[Position] = set()
    for source, _ in files:
        whole = source.whole or source
        for places in (whole.values, whole.keys):
            for path, position in places.items():
                if position in wrong:
                    found.update(whole.at(path[:steps]) for steps in range(1, len(path) + 1))
    return frozenset(found)


def _sound(
    source: Source, file: model.PackFile, spoiled: frozenset[Position], lost: frozenset[str]
) -> model.PackFile:
    categories = "categories" in lost or any(
        source.at(("categories", number)) in spoiled for number in range(len(file.categories))
    )
    doubted = lost | {"categories"} if categories else lost
    held: dict[str, object] = {
        part: tuple(
            rule
            for number, rule in enumerate(getattr(file, part))
            if source.at((part, number)) not in spoiled and doubted.isdisjoint(_rests_on(rule))
        )
        for part in _ASKED
    }
    held["matrices"] = tuple(
        matrix.model_copy(
            update={
                "rows": tuple(
                    row
                    for number, row in enumerate(matrix.rows)
                    if source.at(("matrices", n, "rows", number)) not in spoiled
                )
            }
        )
        for n, matrix in enumerate(file.matrices)
        if doubted.isdisjoint(_TABLES_NEED)
    )
    if "pack" in lost:
        held["pack"] = None
    if file.school is not None and file.school.time_zone not in time_zones():
        held["school"] = file.school.model_copy(update={"time_zone": _SAFE_ZONE})
    return file.model_copy(update=held)


def _rests_on(rule: model.Rule) -> frozenset[str]:
    """The parts of a pack that a rule takes something from."""
    found: set[str] = set()
    if rule.groups or rule.audience:
        found.add("groups")
    if rule.audience or any(given.people for given in rule.exceptions):
        found.add("people")
    if rule.when is not None or rule.exceptions:
        found.add("school")
    match rule:
        case model.ApplicationRule() if any(one.category for one in (*rule.match, *rule.unless)):
            found.add("categories")
        case model.SiteRule() if rule.categories or rule.allowed_categories:
            found.add("categories")
        case _:
            pass
    return frozenset(found)
