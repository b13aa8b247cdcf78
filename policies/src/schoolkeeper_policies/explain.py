"""Why a policy says what it says: the decision, the rule, where it comes from, and the words the person will read.

Nothing is decided here: the questions go to ``schoolkeeper_proto.decide``, which is what a device runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from schoolkeeper_policies.subject import Subject
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.decide import Words, application_words, medium_words, refused_words
from schoolkeeper_proto.matching import Concern, Verdict
from schoolkeeper_proto.model import Medium
from schoolkeeper_proto.policy import RuleText
from schoolkeeper_proto.wording import category

BY_PATH = "where it came from is guessed by its path; a device looks whose file it is"
"""Said when the answer hangs on the program's origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that somebody starts; ``sha256`` in hexadecimal, or empty."""

    path: str
    sha256: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVisit:
    """An address in the browser, or a category that a filter told."""

    site: str = ""
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUsed:
    use: str
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeripheralUsed:
    kind: str
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftIdle:
    """A screen that nobody uses."""


What = Program | Medium | SiteVisit | NetworkUsed | PeripheralUsed | LeftIdle


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``groups`` None: the person cannot be told. ``place``: on-site, off-site or unknown."""

    what: What
    at_ms: int
    place: str = "unknown"
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``decision`` is what is done, ``asked`` what the rule says: they differ while it is on trial.

    ``text`` is None where no rule decided. ``words`` is None where the person is told nothing. ``seconds`` is for a
    screen left idle.
    """

    decision: str
    asked: str
    text: RuleText | None
    position: str = ""
    words: Words | None = None
    concerned: tuple[Concern, ...] = ()
    seconds: int = 0
    notes: tuple[str, ...] = field(default=())


def groups_of(subject: Subject, user: str, user_groups: tuple[str, ...]) -> frozenset[str] | None:
    """The groups a device would find for an account; None without either: then the stricter side holds."""
    if not user and not user_groups:
        return None
    return frozenset(user_groups) | (subject.people.groups_of(user) if user else frozenset())


def explain(subject: Subject, question: Question) -> Answer:
    """What the policy says to the question."""
    now = Circumstances(now_ms=question.at_ms, place=question.place, groups=question.groups)
    engine = subject.engine
    match question.what:
        case Program(path=path, sha256=sha256, package=package):
            verdict = engine.applications.decide(path, now, sha256=sha256, package=package)
            concerned = engine.applications.concerning(path, now, sha256=sha256, package=package)
            words = application_words(verdict, path, engine.texts.get(verdict.rule_id))
            notes = (BY_PATH,) if engine.applications.needs_origin else ()
            return _answer(subject, verdict, words, concerned, notes)
        case Medium() as medium:
            said = engine.media.decide(medium, now)
            text = engine.texts.get(said.rule_id)
            return Answer(
                decision=str(said.access),
                asked=str(said.asked),
                text=text,
                position=_position(subject, said.rule_id),
                words=medium_words(said, text, subject.bundle.media.rules, medium.kernel_name),
                concerned=engine.media.concerning(medium, now),
            )
        case SiteVisit(site=site, categories=categories):
            verdict = engine.sites.decide(site, now, categories=categories)
            concerned = engine.sites.concerning(site, now, categories=categories)
            found = sorted(engine.sites.categories_of(site) | categories)
            listed = ", ".join(category(name, subject.bundle.notice) for name in found)
            notes = (f"categories: {listed}" if listed else "the policy lists it under no category",)
            return _answer(subject, verdict, _refused(subject, verdict, site or listed), concerned, notes)
        case NetworkUsed(use=use, what=what):
            rows = engine.network(use, what)
            verdict = engine.weigh(rows, now)
            return _answer(subject, verdict, _refused(subject, verdict, use), engine.concerning(rows, now))
        case PeripheralUsed(kind=kind, what=what):
            rows = engine.peripheral(kind, what)
            verdict = engine.weigh(rows, now)
            return _answer(subject, verdict, _refused(subject, verdict, kind), engine.concerning(rows, now))
        case LeftIdle():
            seconds = engine.locks_after(now)
            screen = subject.bundle.screen
            held = screen.text if screen is not None else None
            return Answer(
                decision="lock" if seconds else "allow",
                asked="lock" if screen is not None else "allow",
                text=held,
                position=_position(subject, held.rule_id) if held is not None else "",
                seconds=seconds,
            )
        case _:
            assert_never(question.what)


def _answer(
    subject: Subject,
    verdict: Verdict,
    words: Words | None,
    concerned: tuple[Concern, ...],
    notes: tuple[str, ...] = (),
) -> Answer:
    return Answer(
        decision=verdict.decision,
        asked=verdict.asked,
        text=subject.engine.texts.get(verdict.rule_id),
        position=_position(subject, verdict.rule_id),
        words=words,
        concerned=concerned,
        notes=notes,
    )


def _refused(subject: Subject, verdict: Verdict, what: str) -> Words | None:
    return refused_words(what, subject.engine.texts.get(verdict.rule_id)) if verdict.refuses else None


def _position(subject: Subject, rule_id: str) -> str:
    found = subject.positions.get(rule_id)
    return str(found) if found is not None else ""
