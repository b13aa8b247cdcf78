"""Facts and words into what people read: text, or one page that prints as a poster. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from schoolkeeper_proto.model import Place
from schoolkeeper_proto.notices import english, page, welsh
from schoolkeeper_proto.notices.facts import Act, Audience, Collected, Facts, Restriction, Thing, When
from schoolkeeper_proto.notices.page import Item, Part
from schoolkeeper_proto.notices.words import Language, Level, Words
from schoolkeeper_proto.wording import clock, reworded

WORDS: dict[tuple[Language, Level], Words] = {
    (Language.ENGLISH, Level.PLAIN): english.PLAIN,
    (Language.ENGLISH, Level.JUNIOR): english.JUNIOR,
    (Language.ENGLISH, Level.EARLY): english.EARLY,
    (Language.WELSH, Level.PLAIN): welsh.PLAIN,
    (Language.WELSH, Level.JUNIOR): welsh.JUNIOR,
    (Language.WELSH, Level.EARLY): welsh.EARLY,
}
_SIMPLER: dict[Level, tuple[str, ...]] = {
    Level.EARLY: (Level.JUNIOR.value,),
    Level.JUNIOR: (),
    Level.PLAIN: (),
}
"""Where nothing is said for a level, whose words are nearest."""
EDITIONS = tuple(
    (audience, level, language)
    for audience in Audience
    for level in (Level if audience is Audience.PUPIL else (Level.PLAIN,))
    for language in Language
)
"""Every notice there is: for pupils at each reading level, for others plainly, in each language."""
_SYMBOLS = {
    "restricted": "\u2716", "collected": "\u270e", "not_watched": "\u2298", "not_checked": "\u2714",
    "kept_longer": "\u25f7", "contacts": "\u260e",
}  # fmt: skip
"""For the youngest: a cross, a pencil, a circle crossed out, a tick, a clock, a telephone. DejaVu Sans, which a
desktop of Debian's has, draws them all."""


def edition_name(audience: Audience, level: Level, language: Language) -> str:
    """A file's name without its ending."""
    return f"{audience}.{level}.{language}"


def as_text(facts: Facts, language: Language, level: Level) -> str:
    """For a terminal."""
    return page.as_text(document(facts, language, level))


def as_page(facts: Facts, language: Language, level: Level) -> str:
    """One HTML page without script or address: for a browser, and to be printed as a poster."""
    return page.as_page(document(facts, language, level))


def document(facts: Facts, language: Language, level: Level) -> page.Document:
    """The whole notice."""
    words = WORDS[language, level]
    return page.Document(
        language=language,
        title=words.title,
        introduction=words.introduction[facts.audience],
        urgent=words.urgent,
        parts=parts(facts, language, level),
        sources=(source_line(facts, language, level),),
        large=level is Level.EARLY,
    )


def parts(facts: Facts, language: Language, level: Level, *, every_line: bool = False) -> tuple[Part, ...]:
    """What is said, in the order in which it is read. ``every_line``: see ``also``."""
    words = replace(WORDS[language, level], names=_names(facts, language, level))
    checked = [_restriction(r, words) for r in facts.restrictions if r.checked]
    # A setting that nobody fixes is nothing that a person could keep to.
    unchecked = [_unchecked(r, words) for r in facts.restrictions if not r.checked and r.act is not Act.SET]
    unchecked += [Item(heading=said) for said in also(facts, language, level, every_line=every_line)]
    # The school's own words are in one language, and plain.
    own = facts.not_watched if level is Level.PLAIN and facts.language == language else ()
    unwatched = [Item(heading=said) for said in dict.fromkeys((*words.never, *own))]
    collected = [_collected(c, words) for c in facts.collected] or [Item(heading=words.nothing_collected)]
    contacts = [Item(heading=said) for said in facts.contacts] or [Item(heading=words.no_contacts)]
    restricted = _once(checked) or (Item(heading=words.nothing_restricted),)
    found = [
        Part(heading=words.restricted, items=(*restricted, Item(heading=words.limit))),
        Part(heading=words.collected, items=(*collected, Item(heading=words.always))),
        Part(heading=words.not_watched, items=tuple(unwatched)),
    ]
    if unchecked:
        found.append(Part(heading=words.not_checked, items=_once(unchecked)))
    if facts.collected:
        found.append(
            Part(heading=words.kept_longer, items=tuple(Item(heading=said) for said in words.longer))
        )
    found.append(Part(heading=words.contacts, items=tuple(contacts)))
    if level is not Level.EARLY:
        return tuple(found)
    symbols = {getattr(words, name): symbol for name, symbol in _SYMBOLS.items()}
    return tuple(replace(part, symbol=symbols[part.heading]) for part in found)


def _names(facts: Facts, language: Language, level: Level) -> Mapping[str, str]:
    """What things are called: the school's words for its own categories first, where it has them in this language."""
    levels = tuple(dict.fromkeys((level.value, *_SIMPLER[level], Level.PLAIN.value)))
    names = dict(WORDS[language, level].names)
    for held in facts.categories:
        mine = reworded(held, (language.value,), levels)
        if mine or held.name not in names:
            names[held.name] = mine or reworded(held, (facts.language, *Language), levels) or held.name
    return names


def also(facts: Facts, language: Language, level: Level, *, every_line: bool) -> list[str]:
    """The rules that no device checks, in the words that the school gave for this level and language.

    Where it gave none for the language, in its own one: a rule that is left unsaid is worse. What it gave in plain
    words alone is left out at the simpler levels, but not with ``every_line``: nobody agrees to what is not said.
    """
    found = []
    for line in facts.also:
        given = {(one.level, one.language): one.said for one in line.rewordings}
        given.setdefault((Level.PLAIN.value, facts.language), line.said)
        said = given.get((level.value, language.value)) or given.get((level.value, facts.language))
        if said is None and (every_line or level is Level.PLAIN):
            said = given.get((Level.PLAIN.value, language.value), line.said)
        if said is not None:
            found.append(said)
    return found


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))


def source_line(facts: Facts, language: Language, level: Level) -> str:
    """Which policy it was made from."""
    words = WORDS[language, level]
    return words.source.format(version=facts.version, hash=facts.bundle_hash.hex()[:16], school=facts.school)


def _unchecked(said: Restriction, words: Words) -> Item:
    """Only that it is not allowed: nothing refuses it here, and nobody is told."""
    return _sentence(words.acts[Thing.NETWORK, None], said, words)


def _restriction(said: Restriction, words: Words) -> Item:
    return _sentence(words.acts.get((said.thing, said.act)) or words.acts[said.thing, None], said, words)


def _sentence(sentence: str, said: Restriction, words: Words) -> Item:
    if said.thing is Thing.SCREEN:
        what = words.duration(said.seconds)
    else:
        names = dict.fromkeys(words.names.get(name, name) for name in said.what)
        what = ", ".join(names) or words.anything[said.thing]
    text = sentence.format(what=what, time=_time(said.when, words))
    return Item(heading=text[:1].upper() + text[1:])


def _time(when: When, words: Words) -> str:
    said = [_window(window, words) for window in when.windows]
    said += [words.on_site if place is Place.ON_SITE else words.off_site for place in when.places]
    if when.on_some_days:
        said.append(words.some_days)
    if when.some_people:
        said.append(words.some_people)
    if when.exceptions:
        said.append(words.exceptions)
    return words.times(", ".join(said)) if said else ""


def _window(window: tuple[int, int, int], words: Words) -> str:
    weekdays, start, end = window
    held = [day for day in range(7) if weekdays >> day & 1]
    if len(held) > 2 and held == list(range(held[0], held[-1] + 1)):
        days = words.day_range.format(first=words.days[held[0]], last=words.days[held[-1]])
    else:
        days = words.joined.join(words.days[day] for day in held)
    return f"{days} {clock(start)}–{clock(end)}"


def _collected(said: Collected, words: Words) -> Item:
    readers = ", ".join(words.readers.get(reader, reader) for reader in said.readers)
    lines = [words.who.format(readers=readers)] if readers else []
    lines.append(words.kept(said.days[0]))
    if len(said.days) > 1:
        lines.append(words.some_kept(said.days[-1]))
    if not said.off_site:
        lines.append(words.at_school_only)
    if said.hours.windows:
        hours = ", ".join(_window(window, words) for window in said.hours.windows)
        lines.append(words.at_times_only.format(hours=hours))
    if said.stopped:
        lines.append(words.stopped.format(why=said.stopped))
    return Item(heading=words.families[said.family], lines=tuple(lines))
