"""``agreement``: what people are asked to agree to under this policy, to be printed and signed."""

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
from schoolkeeper_proto.notices.agreement import Agreement, Band, agreement_of
from schoolkeeper_proto.notices.words import Language


def agreement(
    policy: Subject,
    *,
    group: Group = "",
    band: Annotated[
        Band | None,
        typer.Option(
            "--for", help="Who signs, in words for them; without it those for whom the group's devices are."
        ),
    ] = None,
    language: Annotated[Language, typer.Option(help="English (en) or Welsh (cy).")] = Language.ENGLISH,
    html: Annotated[bool, typer.Option("--html", help="A page to be printed and signed.")] = False,
    school: Annotated[str, typer.Option(help="The school's name, as readers know it.")] = "",
    every: Annotated[
        Path | None, typer.Option(help="Write every agreement, as text and page, to this folder.")
    ] = None,
) -> None:
    """Print the acceptable-use agreement: made from the policy, with what the signer agrees to at its end."""
    try:
        subject = open_subject(policy, group=group, now_ms=now_ms())
    except PolicyError as error:
        fail(error)
    if every is not None:
        write_documents(every, _agreements(subject.bundle, school))
        return
    made = agreement_of(subject.bundle, band or _of_the_group(subject.bundle), language, school=school)
    typer.echo(made.as_page() if html else made.as_text(), nl=False)


def _of_the_group(bundle: OpenBundle) -> Band:
    held = bundle.agreement.band_of_group if bundle.agreement is not None else ""
    if held not in set(Band):
        wrong_use(f"the policy does not say for whom the devices are: add --for, one of {', '.join(Band)}")
    return Band(held)


def _agreements(bundle: OpenBundle, school: str) -> Iterator[tuple[str, page.Document]]:
    for band in Band:
        for language in Language:
            made = agreement_of(bundle, band, language, school=school)
            yield file_name(made), made.page


def file_name(one: Agreement) -> str:
    """Without its ending; ``+`` is no letter for a file's name."""
    return f"{one.document}.{one.band.value.replace('+', '-up')}.{one.language}"
