"""Facts and words into what people read: text, or one page that prints as a poster. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass, replace

from schoolkeeper_proto.model import Place
from schoolkeeper_proto.notices import english, welsh
from schoolkeeper_proto.notices.facts import Act, Audience, Collected, Facts, Restriction, Thing, When
from schoolkeeper_proto.notices.words import Language, Level, Words
from schoolkeeper_proto.wording import clock

WORDS: dict[tuple[Language, Level], Words] = {
    (Language.ENGLISH, Level.PLAIN): english.PLAIN,
    (Language.ENGLISH, Level.JUNIOR): english.JUNIOR,
    (Language.ENGLISH, Level.EARLY): english.EARLY,
    (Language.WELSH, Level.PLAIN): welsh.PLAIN,
    (Language.WELSH, Level.JUNIOR): welsh.JUNIOR,
    (Language.WELSH, Level.EARLY): welsh.EARLY,
}
EDITIONS = tuple(
    (audience, level, language)
    for audience in Audience
    for level in (Level if audience is Audience.PUPIL else (Level.PLAIN,))
    for language in Language
)
"""Every notice there is: for pupils at each reading level, for others plainly, in each language."""
_STYLE = (
    "body{font:1.1rem/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#0b0c0c;background:#fff}"
    "h1,h2{line-height:1.2}li{margin:.4rem 0}.more{color:#3d4245}.urgent{border:.2rem solid;padding:.6rem 1rem}"
    "@media print{body{max-width:none;margin:0}h2{break-after:avoid}li{break-inside:avoid}}"
)
_EARLY_STYLE = "body{font-size:1.5rem}"
_SYMBOLS = {
    "restricted": "\u2716", "collected": "\u270e", "not_watched": "\u2298", "not_checked": "\u2714",
    "kept_longer": "\u25f7", "contacts": "\u260e",
}  # fmt: skip
"""For the youngest: a cross, a pencil, a circle crossed out, a tick, a clock, a telephone. DejaVu Sans, which a
desktop of Debian's has, draws them all."""


def edition_name(audience: Audience, level: Level, language: Language) -> str:
    """A file's name without its ending."""
    return f"{audience}.{level}.{language}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line, and what is said below it."""

    heading: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``symbol`` stands before the heading for who does not read yet (W-114); empty at the other levels."""

    heading: str
    items: tuple[Item, ...]
    symbol: str = ""


def as_text(facts: Facts, language: Language, level: Level) -> str:
    """For a terminal."""
    words = WORDS[language, level]
    lines = [words.title, "", words.introduction[facts.audience], "", words.urgent, ""]
    for part in parts(facts, language, level):
        lines += [f"{part.symbol} {part.heading}".strip(), ""]
        for item in part.items:
            lines.append(f"  * {item.heading}")
            lines += [f"    {line}" for line in item.lines]
        lines.append("")
    lines.append(source_line(facts, language, level))
    return "\n".join(lines) + "\n"


def as_page(facts: Facts, language: Language, level: Level) -> str:
    """One HTML page without script or address: for a browser, and to be printed as a poster."""
    words = WORDS[language, level]
    title = html.escape(words.title)
    style = _STYLE + (_EARLY_STYLE if level is Level.EARLY else "")
    page = [
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        f"<p>{html.escape(words.introduction[facts.audience])}</p>\n",
        f'<p class="urgent">{html.escape(words.urgent)}</p>\n',
    ]
    for part in parts(facts, language, level):
        # Whoever has the page read aloud hears the heading alone.
        symbol = f'<span aria-hidden="true">{part.symbol}</span> ' if part.symbol else ""
        page.append(f"<h2>{symbol}{html.escape(part.heading)}</h2>\n<ul>\n")
        page += [_item(item) for item in part.items]
        page.append("</ul>\n")
    source = html.escape(source_line(facts, language, level))
    page.append(f'<p class="more">{source}</p>\n</main>\n</body>\n</html>\n')
    return "".join(page)


def parts(facts: Facts, language: Language, level: Level) -> tuple[Part, ...]:
    """What is said, in the order in which it is read."""
    words = WORDS[language, level]
    checked = [_restriction(r, words) for r in facts.restrictions if r.checked]
    # A setting that nobody fixes is nothing that a person could keep to.
    unchecked = [_unchecked(r, words) for r in facts.restrictions if not r.checked and r.act is not Act.SET]
    if level is Level.PLAIN:
        # In whichever language the school wrote it: a rule that is left unsaid is worse.
        unchecked += [Item(heading=said) for said in facts.also]
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


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))


def source_line(facts: Facts, language: Language, level: Level) -> str:
    """Which policy it was made from."""
    words = WORDS[language, level]
    return words.source.format(version=facts.version, hash=facts.bundle_hash.hex()[:16], school=facts.school)


def _item(item: Item) -> str:
    below = "".join(f'<br><span class="more">{html.escape(line)}</span>' for line in item.lines)
    return f"<li>{html.escape(item.heading)}{below}</li>\n"


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
