"""``notice``: what pupils, staff, guests and parents would read under this policy, to be printed or put on a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.cli.shared import Group, Subject, fail, now_ms, write_documents, wrong_use
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import open_subject
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.notices import page
from schoolkeeper_proto.notices.facts import Audience, facts_of
from schoolkeeper_proto.notices.render import EDITIONS, document, edition_name
from schoolkeeper_proto.notices.words import Language, Level


def notice(
    policy: Subject,
    *,
    group: Group = "",
    audience: Annotated[Audience, typer.Option("--for", help="For whom.")] = Audience.PUPIL,
    level: Annotated[
        Level, typer.Option(help="Reading level; others than pupils have the plain one.")
    ] = Level.PLAIN,
    language: Annotated[Language, typer.Option(help="English (en) or Welsh (cy).")] = Language.ENGLISH,
    html: Annotated[bool, typer.Option("--html", help="A page, which prints as a poster.")] = False,
    school: Annotated[str, typer.Option(help="The school's name, as readers know it.")] = "",
    every: Annotated[
        Path | None, typer.Option(help="Write every edition, as text and page, to this folder.")
    ] = None,
) -> None:
    """Say what people are told: made from the policy, the same words as on the devices."""
    try:
        subject = open_subject(policy, group=group, now_ms=now_ms())
    except PolicyError as error:
        fail(error)
    if every is not None:
        write_documents(every, _editions(subject.bundle, school))
        return
    if (audience, level, language) not in EDITIONS:
        wrong_use(f"only pupils have a notice at the level {level}: leave --level out")
    made = page.as_page if html else page.as_text
    facts = facts_of(subject.bundle, audience, school=school)
    typer.echo(made(document(facts, language, level)), nl=False)


def _editions(bundle: OpenBundle, school: str) -> Iterator[tuple[str, page.Document]]:
    for audience, level, language in EDITIONS:
        facts = facts_of(bundle, audience, school=school)
        yield edition_name(audience, level, language), document(facts, language, level)
