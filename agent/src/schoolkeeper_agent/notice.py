"""'What is monitored on this device': made from the policy in force and from what really runs, so it cannot differ.

Text for a terminal, a standalone accessible page for a browser (no script, no address to load from), and the words
shown at sign-in (T-41). What has no notice text is not collected, so it is not listed. This page quotes the school's
own words in full; beside it lie the editions for pupils, staff, guests and parents (``schoolkeeper_proto.notices``).
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent.collection import NEED_NO_NOTICE
from schoolkeeper_agent.notice_child import FOLDER as FOLDER
from schoolkeeper_agent.policy_words import hours_of
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.notices.reach import NEVER_MADE
from schoolkeeper_proto.policy import CollectedKind, RuleMode, RuleText

if TYPE_CHECKING:
    from schoolkeeper_proto.notices.facts import Audience, Facts
    from schoolkeeper_proto.notices.words import Language, Level

    Edition = tuple[Audience, Level, Language]

TEXT_FILE, PAGE_FILE, SIGN_IN_FILE = "monitored.txt", "monitored.html", "sign-in.txt"
TITLE = "What is monitored on this device"
NOT_WATCHED = (
    "what you type",
    "what your screen shows",
    "the text of pages, messages or documents",
    "the microphone and the camera",
)
"""What this product cannot do at all, whatever a policy says."""
_ALWAYS = (
    "The device also reports on itself: that it is on, its rules, and whether its protection was disturbed."
)
_STYLE = (
    "body{font:1.1rem/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#0b0c0c;background:#fff}"
    "h1,h2{line-height:1.2}dt{font-weight:bold;margin-top:1rem}dd{margin:0}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One sensor as it is now; ``problem`` is empty while it runs."""

    name: str
    kinds: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One thing that is collected, in words; ``state`` says when it is not collected just now."""

    heading: str
    lines: tuple[str, ...]


def written_page(run_dir: Path, *, page: bool, name: Edition | None = None) -> str | None:
    """What the running service wrote for everybody to read; None when there is nothing to be read.

    ``name``: one of the editions instead of the page in full.
    """
    if name is None:
        file = PAGE_FILE if page else TEXT_FILE
    else:
        from schoolkeeper_proto.notices.render import edition_name

        file = edition_name(*name) + (".html" if page else ".txt")
    try:
        return (run_dir / FOLDER / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def edition(bundle: OpenBundle, running: Sequence[Running] | None, name: Edition, *, page: bool) -> str:
    """The notice for one kind of reader, at a reading level and in a language."""
    from schoolkeeper_proto.notices.render import as_page, as_text

    audience, level, language = name
    return (as_page if page else as_text)(_facts(bundle, running, audience), language, level)


def _facts(bundle: OpenBundle, running: Sequence[Running] | None, audience: Audience) -> Facts:
    from schoolkeeper_proto.notices.facts import facts_of

    return facts_of(bundle, audience, stopped=lambda kinds: _stopped(kinds, running))


def monitored_page(bundle: OpenBundle, running: Sequence[Running] | None = None) -> str:
    """The notice as text. ``running`` None: nothing is known of what runs, and nothing is said of it."""
    lines = [bundle.notice.title or TITLE, ""]
    if bundle.notice.introduction:
        lines += [bundle.notice.introduction, ""]
    for heading, items in _sections(bundle, running):
        lines += [heading, ""]
        for item in items:
            lines.append(f"  * {item.heading}")
            lines += [f"    {line}" for line in item.lines]
        lines.append("")
    return "\n".join(lines)


def monitored_page_html(bundle: OpenBundle, running: Sequence[Running] | None = None) -> str:
    """The notice as one HTML page that needs nothing else."""
    title = html.escape(bundle.notice.title or TITLE)
    language = html.escape(bundle.notice.language or "en", quote=True)
    parts = [
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
    ]
    if bundle.notice.introduction:
        parts.append(f"<p>{html.escape(bundle.notice.introduction)}</p>\n")
    for heading, items in _sections(bundle, running):
        parts.append(f"<h2>{html.escape(heading)}</h2>\n")
        parts.append(_list(items))
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)


def sign_in_notice(bundle: OpenBundle) -> str:
    """A few words for the moment of signing in; 999 and Childline among them, before anything was asked for (T-28)."""
    from schoolkeeper_agent.tell.words import help_now, says

    words = bundle.notice.sign_in_notice or "This device belongs to the school. Its use is monitored."
    tell = says(bundle.notice.language)
    return "\n".join(
        (
            words,
            "To read what is monitored: schoolkeeper-agent notice",
            *help_now(tell),
            f"{tell.title}: schoolkeeper-agent tell",
            "",
        )
    )


def write_notices(state_dir: Path, bundle: OpenBundle, running: Sequence[Running] | None = None) -> Path:
    """Writes them all where everybody can read them, each whole or not at all; returns the folder.

    The package shows ``sign-in.txt`` at sign-in (packaging/linux/agent/pam-config).
    """
    from schoolkeeper_agent.agreeing.texts import written
    from schoolkeeper_proto.notices.render import EDITIONS, as_page, as_text, edition_name

    folder = state_dir / FOLDER
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    texts = {
        TEXT_FILE: monitored_page(bundle, running),
        PAGE_FILE: monitored_page_html(bundle, running),
        SIGN_IN_FILE: sign_in_notice(bundle),
    }
    facts = {
        audience: _facts(bundle, running, audience) for audience in dict.fromkeys(e[0] for e in EDITIONS)
    }
    for audience, level, language in EDITIONS:
        for ending, made in ((".txt", as_text), (".html", as_page)):
            name = edition_name(audience, level, language) + ending
            texts[name] = made(facts[audience], language, level)
    for file, text in (texts | written(bundle)).items():
        beside = folder / f".{file}.new"
        beside.write_text(text, encoding="utf-8")
        os.chmod(beside, 0o644)  # noqa: PTH101 - readable by everybody, whatever the umask
        beside.replace(folder / file)
    return folder


def _sections(bundle: OpenBundle, running: Sequence[Running] | None) -> list[tuple[str, list[_Item]]]:
    collected = [_collected(kinds, running) for kinds in _said_together(bundle)]
    if not collected:
        collected = [_Item(heading="Nothing about what you do is collected.", lines=())]
    collected.append(_Item(heading=_ALWAYS, lines=()))
    unwatched = [*NOT_WATCHED, *bundle.notice.not_watched]
    sections = [
        ("What is collected", collected),
        ("What is restricted", _restrictions(bundle) or [_Item(heading="Nothing.", lines=())]),
        ("What is not watched", [_Item(heading=words, lines=()) for words in dict.fromkeys(unwatched)]),
    ]
    if bundle.collection.kinds:
        from schoolkeeper_proto.notices.english import PLAIN

        # The collector holds it (its ``store/holding.py``).
        longer = [_Item(heading=words, lines=()) for words in PLAIN.longer]
        sections.append(("What is kept for longer", longer))
    if bundle.notice.contacts:
        sections.append(("Whom to ask", [_Item(heading=words, lines=()) for words in bundle.notice.contacts]))
    version = f"Policy version {bundle.manifest.version} ({bundle.hash.hex()[:16]})"
    sections.append(("Where this comes from", [_Item(heading=version, lines=())]))
    return sections


def _said_together(bundle: OpenBundle) -> list[tuple[CollectedKind, ...]]:
    """Kinds that the policy tells of in the same words are one thing to a reader; what no part makes is left out."""
    together: dict[CollectedKind, list[CollectedKind]] = {}
    for kind in bundle.collection.kinds:
        if kind.notice.strip() and kind.kind not in NEVER_MADE:
            together.setdefault(replace(kind, kind=""), []).append(kind)
    return [tuple(kinds) for kinds in together.values()]


def _collected(kinds: Sequence[CollectedKind], running: Sequence[Running] | None) -> _Item:
    said = kinds[0]
    lines = []
    if said.purpose:
        lines.append(f"Why: {said.purpose}")
    if said.readers:
        lines.append(f"Who can look: {', '.join(said.readers)}")
    lines.append(
        f"Kept for: {said.retention_days} days at most"
        if said.retention_days
        else "Kept for: not decided by the school"
    )
    if not said.off_site:
        lines.append("Only on the school's own network.")
    if said.when is not None and said.when.times:
        lines.append(f"Only in school hours: {hours_of(said.when)}.")
    stopped = _stopped(frozenset(kind.kind for kind in kinds), running)
    if stopped:
        lines.append(f"Not collected at the moment: {stopped}")
    return _Item(heading=said.notice, lines=tuple(lines))


def _stopped(kinds: frozenset[str], running: Sequence[Running] | None) -> str:
    """Why nothing of these kinds is collected now; empty when some is, or when no sensor says anything of them."""
    if running is None or kinds & NEED_NO_NOTICE:
        return ""
    concerned = [one for one in running if not kinds.isdisjoint(one.kinds)]
    if not concerned or any(not one.problem for one in concerned):
        return ""
    return concerned[0].problem


def _restrictions(bundle: OpenBundle) -> list[_Item]:
    texts = [rule.text for rule in bundle.applications.rules] + [rule.text for rule in bundle.media.rules]
    items = [_restriction(text) for text in texts if text.mode is not RuleMode.OBSERVE]
    items += [_restriction(text) for text in _browser_texts(bundle)]
    if bundle.screen is not None and bundle.screen.idle_lock_seconds:
        seconds = bundle.screen.idle_lock_seconds
        items.append(
            _Item(
                heading=f"The screen locks after {seconds // 60} min {seconds % 60} s without use.", lines=()
            )
        )
    return items


def _browser_texts(bundle: OpenBundle) -> list[RuleText]:
    """What browsers are told to refuse or to keep off: they can neither observe nor warn."""
    from schoolkeeper_proto.browser_sites import FORBIDS, carried

    held = bundle.browser
    texts = [rule.text for rule in held.rules if rule.decision in FORBIDS and carried(held, rule)]
    return texts + [
        one.text for one in held.settings if one.text.mode not in (RuleMode.OBSERVE, RuleMode.WARN)
    ]


def _restriction(text: RuleText) -> _Item:
    lines = [f"Why: {text.why}" if text.why else "", text.resolution]
    if text.mode is RuleMode.WARN:
        lines.append("You are warned, nothing is stopped.")
    return _Item(
        heading=text.description or f"Rule {text.rule_id}", lines=tuple(line for line in lines if line)
    )


def _list(items: list[_Item]) -> str:
    if not any(item.lines for item in items):
        return "<ul>\n" + "".join(f"<li>{html.escape(item.heading)}</li>\n" for item in items) + "</ul>\n"
    parts = []
    for item in items:
        details = "".join(f"<dd>{html.escape(line)}</dd>\n" for line in item.lines) or "<dd></dd>\n"
        parts.append(f"<dt>{html.escape(item.heading)}</dt>\n{details}")
    return "<dl>\n" + "".join(parts) + "</dl>\n"
