"""``test`` and ``match``: does a policy, or one detection rule, do what it should?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.cli.shared import Pack, RegisterFile, fail, now_ms, wrong_use
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.trial import run_tests
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.sigma.matching import JsonRecord, MatchedRules, read_match_rules
from schoolkeeper_policies.subject import LoadedPack
from schoolkeeper_policies.testing import run_policy_tests

MAX_EVENT_BYTES = 64 << 20


def test(pack: Pack, register: RegisterFile = None) -> None:  # noqa: PT028 - a command, not a test
    """Run the tests inside the pack: of its rules, of the whole policy, of its detection rules.

    Exit status: 0 all hold; 1 one failed, or the pack has mistakes; 2 wrong use.
    """
    try:
        detection, failures = run_tests(load_rules(pack, own_limits=False))
        count, more = run_policy_tests(LoadedPack.read(pack, register=register), now_ms=now_ms())
    except PolicyError as error:
        fail(error)
    failures += more
    for failure in failures:
        typer.echo(str(failure), err=True)
    typer.echo(f"{count} tests of the policy, {detection} of detection rules, {len(failures)} failed")
    if failures:
        raise typer.Exit(1)


def match(
    rule: Annotated[Path, typer.Argument(help="A file with one or more Sigma rules of the subset.")],
    events: Annotated[
        list[Path],
        typer.Argument(
            help="Files of events: a JSON object, a list of them, or one per line; '-' reads them."
        ),
    ],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the exit status.")] = False,
) -> None:
    """Say which events a Sigma rule matches; of any log source, not only of this product.

    Exit status: 0 at least one event matches; 1 none does; 2 the rule is outside the subset, or a file cannot be read.
    """
    try:
        rules = read_match_rules(rule.read_text(encoding="utf-8"), file=str(rule))
        found = False
        for place, event in _events(events):
            for name in rules.take(JsonRecord(event), reference=place):
                found = True
                if not quiet:
                    typer.echo(f"{place}: {name}")
    except PolicyError as error:
        fail(error, 2)
    except OSError as error:
        wrong_use(f"{error.filename} cannot be read: {error.strerror}; name a file that can")
    except UnicodeDecodeError as error:
        wrong_use(f"a file is no text ({error}); give rules in YAML and events in JSON, as UTF-8")
    _said_nothing(rules, quiet=quiet)
    raise typer.Exit(0 if found else 1)


def _said_nothing(rules: MatchedRules, *, quiet: bool) -> None:
    if not quiet and rules.untimed:
        typer.echo(
            f"{rules.untimed} events have no time that is known (timestamp, @timestamp, time): taken in their order",
            err=True,
        )


def _events(files: list[Path]) -> Iterator[tuple[str, dict[str, object]]]:
    for file in files:
        name = str(file)
        text = sys.stdin.read(MAX_EVENT_BYTES) if name == "-" else file.read_text(encoding="utf-8")
        try:
            held = json.loads(text)
        except ValueError:
            yield from _lines(name, text)
            continue
        for number, event in enumerate(held if isinstance(held, list) else [held], 1):
            yield _event(f"{name}#{number}", event)


def _lines(name: str, text: str) -> Iterator[tuple[str, dict[str, object]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                event = json.loads(line)
            except ValueError as error:
                at = Position(file=name, line=number, column=getattr(error, "colno", 1))
                problem = Problem(
                    position=at, reason=f"no JSON: {error}", remedy="one object per line, or one list"
                )
                raise PolicyError([problem]) from error
            yield _event(f"{name}:{number}", event)


def _event(place: str, event: object) -> tuple[str, dict[str, object]]:
    if not isinstance(event, dict):
        problem = Problem(
            position=Position(file=place), reason="no JSON object", remedy="write keys and values"
        )
        raise PolicyError([problem])
    return place, event
