"""What a policy would have done with what happened, against the policy in force: counted, never guessed.

A million events fall onto a few thousand distinct questions (what, in which group, in which span of time, where, who);
each is decided once by each of the two engines.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schoolkeeper_policies.trying.sightings import Sighting
from schoolkeeper_policies.trying.slots import Slots
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import KNOWN, Circumstances
from schoolkeeper_proto.decide import Engine
from schoolkeeper_proto.matching import STRICTNESS
from schoolkeeper_proto.model import Medium, MediumEncryption
from schoolkeeper_proto.people import PERSON, PREFIX, PeopleTable
from schoolkeeper_proto.policy import Applicability

HOUR_MS: Final = 3_600_000
TOP: Final = 10


class Effect(StrEnum):
    """What would have been otherwise. From LIMITED on it is about media."""

    REFUSED = "refused"
    WARNED = "warned"
    STARTED = "started after all"
    MEDIUM_LIMITED = "limited"
    MEDIUM_FREED = "freed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One group's policy in force, if it has one, and the one that would follow it."""

    before: OpenBundle | None
    after: OpenBundle


@dataclass(slots=True, kw_only=True)
class Tally:
    """Of one effect through one rule. ``count`` is at least so many; ``unsure`` more may come to it."""

    effect: Effect
    rule_id: str
    count: int = 0
    unsure: int = 0
    devices: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    first_ms: int = 0
    last_ms: int = 0
    names: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, count: int, unsure: int, device: str, group: str, at_ms: int) -> None:
        self.count += count
        self.unsure += unsure
        if count:
            self.devices.add(device)
            self.groups.add(group)
            self.names[name] += count
            self.first_ms = min(self.first_ms or at_ms, at_ms)
            self.last_ms = max(self.last_ms, at_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``questions`` is how many distinct ones were decided; ``bounds`` says why figures are lower bounds."""

    since_ms: int
    until_ms: int
    events: int
    skipped: int
    devices: int
    questions: int
    tallies: tuple[Tally, ...]
    bounds: tuple[str, ...]

    def of(self, effect: Effect) -> tuple[Tally, ...]:
        return tuple(tally for tally in self.tallies if tally.effect is effect)

    def count(self, effect: Effect) -> int:
        return sum(tally.count for tally in self.of(effect))


_Answer = tuple[Effect, str]
_Groups = tuple[frozenset[str], ...]
_Question = tuple[tuple[str, ...], int, str, int]
"""What, in which span, where, and who."""
_Cell = tuple[str, str, bytes, tuple[str, ...], int, Effect, str]
"""Group, device, person, what, hour, effect, rule: what an aggregate and single starts may both count."""


class Backtest:
    """Feed it sightings, then ask for the result."""

    def __init__(self, pairs: Mapping[str, Pair], *, since_ms: int, until_ms: int) -> None:
        """Raises ``TableMistake`` for a bundle that a device would refuse."""
        self._since, self._until = since_ms, until_ms
        self._sides = {group: _Side(pair, since_ms, until_ms) for group, pair in sorted(pairs.items())}
        self._events = self._skipped = self._straddling = 0
        self._devices: set[str] = set()
        self._aggregates: dict[tuple[str, bytes | tuple[object, ...]], Sighting] = {}
        # How often, and when first.
        self._starts: dict[_Cell, tuple[int, int]] = {}
        self._tallies: dict[tuple[Effect, str], Tally] = {}

    def feed(self, sightings: Iterable[Sighting]) -> None:
        """Takes sightings in any order."""
        with _no_collection():
            self._feed(sightings)

    def _feed(self, sightings: Iterable[Sighting]) -> None:
        since, until, sides = self._since, self._until, self._sides
        devices, aggregates = self._devices, self._aggregates
        for sighting in sightings:
            self._events += 1
            kind, device, group, at_ms, person, place, what, times, hour_ms, aggregate = sighting
            side = sides.get(group)
            if side is None or not since <= at_ms < until:
                self._skipped += 1
                continue
            devices.add(device)
            if kind == "usage":
                key = device, aggregate or (person, what, hour_ms)
                held = aggregates.get(key)
                if held is None or held.times <= times:
                    aggregates[key] = sighting
                continue
            answer = side.ask(kind == "medium", what, at_ms, place, person)
            if answer is not None and kind == "medium":
                self._tally(answer).add(_label(what), 1, 0, device, group, at_ms)
            elif answer is not None:
                cell = (group, device, person, what, at_ms - at_ms % HOUR_MS, *answer)
                held_count, first = self._starts.get(cell, (0, at_ms))
                self._starts[cell] = held_count + 1, min(first, at_ms)

    def result(self) -> Outcome:
        """What would have been otherwise, by rule, most of it first. To be asked once, after the last sighting."""
        for sighting in self._aggregates.values():
            self._take_aggregate(sighting)
        self._aggregates.clear()
        for (group, device, _, what, _, effect, rule_id), (count, at_ms) in self._starts.items():
            self._tally((effect, rule_id)).add(_label(what), count, 0, device, group, at_ms)
        self._starts.clear()
        tallies = sorted(self._tallies.values(), key=lambda one: (-one.count, one.effect, one.rule_id))
        return Outcome(
            since_ms=self._since,
            until_ms=self._until,
            events=self._events,
            skipped=self._skipped,
            devices=len(self._devices),
            questions=sum(side.questions for side in self._sides.values()),
            tallies=tuple(tally for tally in tallies if tally.count or tally.unsure),
            bounds=tuple(self._bounds()),
        )

    def _take_aggregate(self, sighting: Sighting) -> None:
        """An hour's starts: all of them where nothing changes within the hour, else the first, whose time is known.

        Starts that were reported one by one are in the aggregate, too: the larger number counts.
        """
        side = self._sides[sighting.group]
        hour = sighting.hour_ms or sighting.at_ms - sighting.at_ms % HOUR_MS
        whole = side.slots.of(hour) == side.slots.of(hour + HOUR_MS - 1)
        answer = side.ask(False, sighting.what, sighting.at_ms, sighting.place, sighting.person)
        if not whole and sighting.times > 1:
            self._straddling += 1
            if answer is not None:
                self._tally(answer).unsure += sighting.times - 1
        if answer is None:
            return
        count = sighting.times if whole else 1
        cell = (sighting.group, sighting.device, sighting.person, sighting.what, hour, *answer)
        single, first = self._starts.get(cell, (0, sighting.at_ms))
        self._starts[cell] = max(single, count), min(first, sighting.at_ms)

    def _tally(self, answer: _Answer) -> Tally:
        held = self._tallies.get(answer)
        if held is None:
            held = self._tallies[answer] = Tally(effect=answer[0], rule_id=answer[1])
        return held

    def _bounds(self) -> Iterator[str]:
        if self._straddling:
            yield (
                f"{self._straddling} hourly aggregates lie across a moment at which a rule changes: of each only the "
                "first start is counted, since only its time is known"
            )
        if any(side.sleeps_off_site for side in self._sides.values()):
            yield "off site the school collects no aggregates: only programs that a rule was about are known there"
        if any(side.sleeps_out_of_hours for side in self._sides.values()):
            yield "out of school hours no aggregates are collected: only programs that a rule was about are known then"
        if any(side.without_usage for side in self._sides.values()):
            yield "some groups collect no aggregates: only programs that a rule was about are known"
        if any(side.names_system_groups for side in self._sides.values()):
            yield "rules for groups of the operating system are counted as not holding: events do not name them"
        yield "programs that the system starts by itself are in no aggregate"


@contextmanager
def _no_collection() -> Iterator[None]:
    """A million tuples without a cycle among them: looking for one would take as long as all the rest."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Side:
    """One group: its two engines, and every question that was asked of them."""

    def __init__(self, pair: Pair, since_ms: int, until_ms: int) -> None:
        self._engines = (Engine(pair.before) if pair.before is not None else None, Engine(pair.after))
        bundles = [bundle for bundle in (pair.before, pair.after) if bundle is not None]
        conditions = {when for bundle in bundles for when in _conditions(bundle) if when is not None}
        self.slots = Slots(conditions, since_ms, until_ms)
        self._people = [PeopleTable(bundle.people, bundle.collection.pseudonym_key) for bundle in bundles]
        self._named = {
            group
            for when in conditions
            for groups in (when.user_groups, *(one.user_groups for one in when.exceptions))
            for group in groups
        }
        self._who: dict[bytes, int] = {}
        self._groups: list[_Groups] = []
        self._always: dict[tuple[str, ...], _Answer | None] = {}
        self.answers: dict[_Question, _Answer | None] = {}
        usage = [kind for kind in bundles[0].collection.kinds if kind.kind == "application.usage"]
        self.without_usage = not usage
        self.sleeps_off_site = any(not kind.off_site for kind in usage)
        self.sleeps_out_of_hours = any(kind.when is not None for kind in usage)
        self.names_system_groups = any(not group.startswith((PREFIX, PERSON)) for group in self._named)

    def ask(
        self, medium: bool, what: tuple[str, ...], at_ms: int, place: str, person: bytes
    ) -> _Answer | None:
        """How the two policies differ on this; None where they do not."""
        if what in self._always:
            return self._always[what]
        who = self._who.get(person)
        if who is None:
            who = self._who[person] = self._number(person)
        question = (what, self.slots.of(at_ms), place, who)
        if question in self.answers:
            return self.answers[question]
        answer, steady = self._decide(medium, what, at_ms, place, self._groups[who])
        if steady:
            self._always[what] = answer
        else:
            self.answers[question] = answer
        return answer

    @property
    def questions(self) -> int:
        return len(self.answers) + len(self._always)

    def _number(self, person: bytes) -> int:
        """People whom no rule tells apart have one number."""
        groups = tuple(self._told(table.groups_of_pseudonym(person)) for table in self._people)
        if groups not in self._groups:
            self._groups.append(groups)
        return self._groups.index(groups)

    def _told(self, groups: frozenset[str]) -> frozenset[str]:
        """Groups that a rule names, and whether the person is known at all: nothing else makes a difference."""
        kept = (groups & self._named) | (groups & {KNOWN})
        return kept | {PERSON} if any(group.startswith(PERSON) for group in groups) else kept

    def _decide(
        self, medium: bool, what: tuple[str, ...], at_ms: int, place: str, groups: _Groups
    ) -> tuple[_Answer | None, bool]:
        """The answer, and whether it is the same always, everywhere and for everybody."""
        now = Circumstances(now_ms=at_ms, place=place, groups=groups[-1])
        then = Circumstances(now_ms=at_ms, place=place, groups=groups[0])
        before, after = self._engines
        ask = _medium if medium else _program
        new, rule_id, steady = ask(after, what, now)
        old, old_rule, always = ask(before, what, then) if before is not None else (0, "", True)
        differ = _media_differ if medium else _programs_differ
        return differ(old, old_rule, new, rule_id), steady and always


def _media_differ(old: int, old_rule: str, new: int, rule_id: str) -> _Answer | None:
    if new == old:
        return None
    return (Effect.MEDIUM_LIMITED, rule_id) if new > old else (Effect.MEDIUM_FREED, old_rule)


def _programs_differ(old: int, old_rule: str, new: int, rule_id: str) -> _Answer | None:
    block, warn = STRICTNESS["block"], STRICTNESS["warn"]
    if new >= block > old:
        return Effect.REFUSED, rule_id
    if old >= block > new:
        return Effect.STARTED, old_rule
    return (Effect.WARNED, rule_id) if new == warn > old else None


def _program(engine: Engine, what: tuple[str, ...], now: Circumstances) -> tuple[int, str, bool]:
    path, sha256, package = what
    verdict = engine.applications.decide(path, now, sha256=sha256, package=package)
    return STRICTNESS[verdict.decision], verdict.rule_id, verdict.steady


def _medium(engine: Engine, what: tuple[str, ...], now: Circumstances) -> tuple[int, str, bool]:
    serial, vendor, product, bus, encryption = what
    medium = Medium(
        kernel_name="",
        serial=serial,
        vendor_id=vendor,
        product_id=product,
        bus=bus,
        encryption=MediumEncryption(encryption or "unknown"),
    )
    verdict = engine.media.decide(medium, now)
    steady = engine.media.is_steady(medium)
    return STRICTNESS[str(verdict.access)], verdict.rule_id, steady


def _conditions(bundle: OpenBundle) -> Iterator[Applicability | None]:
    yield from (rule.when for rule in bundle.applications.rules)
    yield from (rule.when for rule in bundle.media.rules)


def _label(what: tuple[str, ...]) -> str:
    if len(what) == 3:
        return what[0].rpartition("/")[2] or what[0]
    return f"{what[1]}:{what[2]}"
