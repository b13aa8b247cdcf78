"""The acceptable-use agreement: the rules of the policy in force, and what its signer agrees to (T-27, W-114). Pure.

Its rules are the sentences of the notices, chosen by what the compiled rules do; its promises follow from which rules
there are. Nothing in it is written by hand for one school but its lines for rules that no device checks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.notices import agreement_welsh, agreement_words, page, render
from schoolkeeper_proto.notices.agreement_words import AgreementWords, Promise
from schoolkeeper_proto.notices.bands import GROUP
from schoolkeeper_proto.notices.bands import Band as Band
from schoolkeeper_proto.notices.bands import asked as asked
from schoolkeeper_proto.notices.facts import Act, Audience, Facts, Restriction, Thing, facts_of
from schoolkeeper_proto.notices.words import Language, Level

WORDS: dict[tuple[Language, Level], AgreementWords] = {
    (Language.ENGLISH, Level.PLAIN): agreement_words.PLAIN,
    (Language.ENGLISH, Level.JUNIOR): agreement_words.JUNIOR,
    (Language.ENGLISH, Level.EARLY): agreement_words.EARLY,
    (Language.WELSH, Level.PLAIN): agreement_welsh.PLAIN,
    (Language.WELSH, Level.JUNIOR): agreement_welsh.JUNIOR,
    (Language.WELSH, Level.EARLY): agreement_welsh.EARLY,
}
UNNAMED = policy.AgreementSection(document="acceptable-use")
"""Of a policy that asks nobody to agree: its text can be printed all the same."""


LEVEL_OF = {
    Band.EYFS: Level.EARLY,
    Band.KS1: Level.EARLY,
    Band.KS2: Level.JUNIOR,
    Band.KS3_UP: Level.PLAIN,
    Band.STAFF: Level.PLAIN,
    Band.GUEST: Level.PLAIN,
    Band.PARENT: Level.PLAIN,
}
"""The age band picks the words (T-27)."""
_AUDIENCE = {Band.STAFF: Audience.STAFF, Band.GUEST: Audience.GUEST, Band.PARENT: Audience.PARENT}
_PUPILS = (Band.EYFS, Band.KS1, Band.KS2, Band.KS3_UP)
_SYMBOLS = ("\u2716", "\u2714", "\u270e", "\u2298", "\u260e", "\u270b")
"""Before the headings for the youngest, in their order: the notices' own, and a raised hand for the promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one person is asked to agree to, in one language.

    ``version``: the school's own and 12 hexadecimal digits over the rules, the same in every language and at every
    reading level; who agreed to another version is asked again. ``text_sha256`` is over what is read, without the
    line that names the bundle. ``adult_accepts``: not the person, but an adult, and nothing waits for it.
    """

    document: str
    version: str
    band: Band
    language: Language
    level: Level
    adult_accepts: bool
    text_sha256: bytes
    page: page.Document

    def as_text(self) -> str:
        """For a terminal or a plain window."""
        return page.as_text(self.page)

    def as_page(self) -> str:
        """One HTML page without script or address, to be printed and signed."""
        return page.as_page(self.page)


def agreement_of(bundle: OpenBundle, band: Band, language: Language, *, school: str = "") -> Agreement:
    """The agreement for one kind of signer under this policy; the same bundle gives the same bytes."""
    section = bundle.agreement or UNNAMED
    level = LEVEL_OF[band]
    facts = facts_of(bundle, _AUDIENCE.get(band, Audience.PUPIL), school=school, groups=_groups(band))
    version = version_of(bundle, band)
    together = band is Band.PARENT or band in section.adult_accepts
    words = WORDS[language, level]
    made = page.Document(
        language=language,
        title=words.title[facts.audience],
        introduction=words.introduction[facts.audience],
        urgent=render.WORDS[language, level].urgent,
        parts=_parts(facts, language, level),
        fill_in=words.sign_together if together else words.sign,
        sources=(words.version.format(document=section.document, version=version),),
        large=level is Level.EARLY,
    )
    return Agreement(
        document=section.document,
        version=version,
        band=band,
        language=language,
        level=level,
        adult_accepts=band in section.adult_accepts,
        text_sha256=hashlib.sha256(page.as_text(made).encode()).digest(),
        page=replace(made, sources=(*made.sources, render.source_line(facts, language, level))),
    )


def version_of(bundle: OpenBundle, band: Band) -> str:
    """The school's version and a hash over the rules for this band; words, languages and agents do not change it."""
    section = bundle.agreement or UNNAMED
    audience = _AUDIENCE.get(band, Audience.PUPIL)
    facts = facts_of(bundle, audience, acted_on=frozenset(), groups=_groups(band))
    ruled = sorted({_ruled(said) for said in facts.restrictions})
    also = [line.said for line in facts.also]
    kinds = sorted(
        (kind.kind, kind.retention_days, sorted(kind.readers), kind.off_site, repr(kind.when))
        for kind in bundle.collection.kinds
        if kind.notice.strip()
    )
    rules = hashlib.sha256(json.dumps([ruled, also, kinds]).encode()).hexdigest()[:12]
    return f"{section.version}/{rules}" if section.version else rules


def _ruled(said: Restriction) -> tuple[str, ...]:
    when = said.when
    held = sorted(when.windows), sorted(when.places), when.on_some_days, when.some_people, when.exceptions
    return (said.thing, said.act, *sorted(said.what), str(said.seconds), repr(held))


def _groups(band: Band) -> frozenset[str] | None:
    if band is Band.PARENT:
        return None
    if band in _PUPILS:
        return frozenset({"people:pupils", f"people:{band}"})
    return frozenset({GROUP[band]})


def _parts(facts: Facts, language: Language, level: Level) -> tuple[page.Part, ...]:
    """The notice's own parts without what is kept for longer, every rule of the school's in it, and the promises."""
    words = render.WORDS[language, level]
    told = {part.heading: part for part in render.parts(facts, language, level, every_line=True)}
    order = (words.restricted, words.not_checked, words.collected, words.not_watched, words.contacts)
    mine = WORDS[language, level]
    promised = page.Part(
        heading=mine.who_agrees[facts.audience],
        items=tuple(page.Item(heading=said) for said in _promises(facts, mine)),
    )
    found = [
        (symbol, told[heading]) for symbol, heading in zip(_SYMBOLS, order, strict=False) if heading in told
    ]
    if level is not Level.EARLY:
        return (*(part for _, part in found), promised)
    # The youngest are told what is collected; who looks, and how long it is kept, is in the notice read with them.
    return tuple(
        page.Part(
            heading=part.heading,
            symbol=symbol,
            items=tuple(page.Item(heading=one.heading) for one in part.items),
        )
        for symbol, part in (*found, (_SYMBOLS[-1], promised))
    )


def _promises(facts: Facts, words: AgreementWords) -> Iterator[str]:
    """One for what is always so, and one for each kind of thing that is restricted, where any is."""
    told = [said for said in facts.restrictions if said.checked or said.act is not Act.SET]
    refused = {said.thing for said in told if said.act is not Act.WARN}
    by_myself = bool(facts.also) or any(not said.checked for said in told)
    yield words.promises[Promise.RULES]
    yield from (words.things[thing] for thing in Thing if thing in refused)
    if refused:
        yield words.promises[Promise.NOT_AROUND]
    if any(said.act is Act.WARN for said in told):
        yield words.promises[Promise.WARNINGS]
    if by_myself:
        yield words.promises[Promise.BY_MYSELF]
    yield words.promises[Promise.COLLECTED if facts.collected else Promise.NOTHING_COLLECTED]
    yield words.promises[Promise.SPEAK_UP]
