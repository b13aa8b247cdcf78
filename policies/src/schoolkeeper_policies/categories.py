"""Categories of programs and sites: the product's own, one file each in ``categories/``, and what a pack adds."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

from schoolkeeper_policies import model
from schoolkeeper_policies.source import read
from schoolkeeper_policies.validate import validate


class CategoryFile(model.Strict):
    """One file of the product's list."""

    category: model.Category
    """The category."""


def shipped_names() -> list[str]:
    """Names of the product's categories: a file is named as its category."""
    root = resources.files("schoolkeeper_policies") / "categories"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in root.iterdir() if entry.name.endswith(".yaml")
    )


@cache
def shipped(name: str) -> model.Category:
    """The product's category of that name; raises ``PolicyError`` when its file is wrong."""
    file = resources.files("schoolkeeper_policies") / "categories" / f"{name}.yaml"
    source = read(file.read_text(encoding="utf-8"), file=f"categories/{name}.yaml")
    return validate(CategoryFile, source).category


def called(category: model.Category, language: Literal["en", "cy"]) -> str:
    """What a person who is refused reads: the plain words, else what is in it."""
    return category.words.get(language, {}).get("plain") or category.description


def referenced(files: list[model.PackFile]) -> list[str]:
    """Names of the categories that rules and rows of the pack use, sorted."""
    names = told_of(files)
    for file in files:
        names.update(match.category for rule in file.applications for match in rule.unless if match.category)
        names.update(name for rule in file.sites for name in rule.allowed_categories)
    return sorted(names)


def told_of(files: list[model.PackFile]) -> set[str]:
    """Names of the categories that rules and rows are about, so that people are told of them."""
    names: set[str] = set()
    for file in files:
        names.update(match.category for rule in file.applications for match in rule.match if match.category)
        names.update(name for rule in file.sites for name in rule.categories)
        for matrix in file.matrices:
            names.update(name for row in matrix.rows for name in (*row.applications, *row.sites))
    return names


def resolved(files: list[model.PackFile]) -> tuple[model.Category, ...]:
    """The categories that the pack uses, each whole; those that nobody knows are left out (``checks.py`` says so)."""
    own = {category.name: category for file in files for category in file.categories}
    known = set(shipped_names())
    found = []
    for name in referenced(files):
        if name in known:
            found.append(_joined(shipped(name), own.get(name)))
        elif name in own:
            found.append(own[name])
    return tuple(found)


def _joined(ours: model.Category, theirs: model.Category | None) -> model.Category:
    if theirs is None:
        return ours
    without = set(theirs.without)
    kept = tuple(match for match in ours.applications if not {text for _, text in match.chosen()} & without)
    return theirs.model_copy(
        update={
            "applications": tuple(dict.fromkeys((*kept, *theirs.applications))),
            "sites": tuple(dict.fromkeys((*(s for s in ours.sites if s not in without), *theirs.sites))),
            "filter_knows_more": ours.filter_knows_more or theirs.filter_knows_more,
        }
    )
