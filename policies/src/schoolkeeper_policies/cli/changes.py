"""``plan`` and ``diff``: what would change, and what it would have done."""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.cli.shared import AsJson, Pack, RegisterFile, Subject, fail, now_ms, wrong_use
from schoolkeeper_policies.devices import read_devices
from schoolkeeper_policies.moments import MomentMistake, read_moment
from schoolkeeper_policies.plan import Direction
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import TRIAL_KEY, LoadedPack, open_any, open_subject
from schoolkeeper_policies.trying.backtest import Backtest, Outcome, Pair
from schoolkeeper_policies.trying.report import Plan, make_plan, plan_json, plan_text
from schoolkeeper_policies.trying.sightings import read_sightings
from schoolkeeper_proto.bundle import OpenBundle

DAY_MS = 86_400_000


class FailOn(StrEnum):
    NEVER = "never"
    SAFEGUARDING = "safeguarding"
    WEAKER = "weaker"
    CHANGE = "change"


def plan(
    pack: Pack,
    *,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="What is in force: a bundle's file (once per group), or a pack. Without it, nothing is."
        ),
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only these groups; several times.")] = None,
    devices: Annotated[str, typer.Option(help="CSV with the columns device and group.")] = "",
    events: Annotated[
        list[str] | None, typer.Option(help="What happened: JSON lines or an SQLite export; several times.")
    ] = None,
    days: Annotated[
        int, typer.Option(help="How many days of it, back from the newest or from now.", min=1)
    ] = 7,
    until: Annotated[str, typer.Option(help="The end of those days, as 2026-11-23; now without it.")] = "",
    fail_on: Annotated[
        FailOn,
        typer.Option(help="End with exit status 3 for such a change (safeguarding: one that weakens it)."),
    ] = FailOn.NEVER,
    register: RegisterFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what would change if this pack were published: rule by rule, stricter or weaker, and tried against events.

    Exit status: 0 planned; 1 mistakes; 2 wrong use; 3 a change of the sort that --fail-on names.
    """
    try:
        held = LoadedPack.read(pack, register=register)
        groups = group or [one.name for one in held.pack.groups]
        before = _in_force(against or [], groups)
        pairs = {name: _pair(held, name, before.get(name)) for name in groups}
        counted = Counter(read_devices(devices).groups.values()) if devices else None
        end = _until(until, held.pack.school.time_zone)
        outcome = _tried(pairs, events or [], end - days * DAY_MS, end) if events else None
    except PolicyError as error:
        fail(error)
    _show(
        make_plan(pairs, devices=counted, outcome=outcome, time_zone=held.pack.school.time_zone),
        as_json,
        fail_on,
    )


def diff(
    before: Subject,
    after: Subject,
    *,
    group: Annotated[str, typer.Option(help="The group; where a bundle is compared, that bundle's.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say in what two packs or bundles differ, by meaning. Without --group, packs in every group of the second.

    Exit status: 0 they do not differ; 1 they do, or mistakes; 2 wrong use.
    """
    try:
        pairs = _pairs(before, after, group)
    except PolicyError as error:
        fail(error)
    found = make_plan(pairs)
    _show(found, as_json, FailOn.NEVER)
    raise typer.Exit(1 if found.planned else 0)


def _pairs(before: str, after: str, group: str) -> dict[str, Pair]:
    if Path(before).is_file():
        old = open_subject(before, group=group, now_ms=now_ms()).bundle
        key, group = old.collection.pseudonym_key, old.manifest.group
        new = open_subject(after, group=group, now_ms=now_ms(), pseudonym_key=key).bundle
        return {group: Pair(before=old, after=new)}
    first = LoadedPack.read(before)
    if Path(after).is_file():
        new = open_subject(after, group=group, now_ms=now_ms()).bundle
        key, group = new.collection.pseudonym_key, new.manifest.group
        return {group: Pair(before=first.bundle(group, now_ms=now_ms(), pseudonym_key=key), after=new)}
    second = LoadedPack.read(after)
    return {
        name: Pair(before=first.bundle(name, now_ms=now_ms()), after=second.bundle(name, now_ms=now_ms()))
        for name in ([group] if group else [one.name for one in second.pack.groups])
    }


def _in_force(against: list[str], groups: list[str]) -> dict[str, OpenBundle]:
    found: dict[str, OpenBundle] = {}
    for name in against:
        if Path(name).is_file():
            bundle = open_any(Path(name).read_bytes(), name)
            found[bundle.manifest.group] = bundle
            continue
        held = LoadedPack.read(name)
        known = {one.name for one in held.pack.groups}
        found |= {group: held.bundle(group, now_ms=now_ms()) for group in groups if group in known}
    return found


def _pair(pack: LoadedPack, group: str, before: OpenBundle | None) -> Pair:
    """Compiled with the key in force: a plan is not about pseudonyms."""
    key = before.collection.pseudonym_key if before is not None else TRIAL_KEY
    return Pair(before=before, after=pack.bundle(group, now_ms=now_ms(), pseudonym_key=key))


def _until(text: str, zone: str) -> int:
    try:
        return read_moment(text, zone=zone, now_ms=now_ms())
    except MomentMistake as error:
        wrong_use(str(error))


def _tried(pairs: dict[str, Pair], events: list[str], since_ms: int, until_ms: int) -> Outcome:
    backtest = Backtest(pairs, since_ms=since_ms, until_ms=until_ms)
    for file in events:
        backtest.feed(read_sightings(file))
    return backtest.result()


def _show(found: Plan, as_json: bool, fail_on: FailOn) -> None:
    typer.echo(json.dumps(plan_json(found), indent=2) if as_json else plan_text(found))
    weaker = found.count(Direction.WEAKER) + found.count(Direction.DIFFERENT)
    if (
        (fail_on is FailOn.CHANGE and found.planned)
        or (fail_on is FailOn.WEAKER and weaker)
        or (fail_on is not FailOn.NEVER and found.weakens_safeguarding)
    ):
        raise typer.Exit(3)
