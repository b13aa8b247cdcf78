"""A school's first pack: the questions it must answer, and the pack that follows from the answers.

The pack is the product's default one with the school's answers put in; its detection rules stay the default's, so that
they are kept up with the product. What is written passes ``check``, or nothing is written.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from schoolkeeper_policies.checking.clocks import time_zones
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.fmt import format_text
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.source import read
from schoolkeeper_policies.validate import suggest

BASE: Final = "default"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class AnswerMistake(ValueError):
    """An answer that cannot be used; the message says what is awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question. ``read`` turns the answer's text into a value; raises ``AnswerMistake``."""

    key: str
    question: str
    help: str
    default: str
    read: Callable[[str], Any]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise AnswerMistake("small letters, digits and '-', as westgate-primary")
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise AnswerMistake("it must not be empty")
    return text.strip()


def _zone(text: str) -> str:
    if text not in time_zones():
        near = get_close_matches(text, sorted(time_zones()), n=1)
        raise AnswerMistake(f"a name like {near[0] if near else 'Europe/London'}")
    return text


def _clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise AnswerMistake("a time like 08:30")
    return text


def _terms(text: str) -> list[dict[str, str]]:
    found = []
    for number, part in enumerate(_parts(text), 1):
        first, _, last = part.partition(" to ")
        try:
            begins, ends = date.fromisoformat(first.strip()), date.fromisoformat(last.strip())
        except ValueError as error:
            raise AnswerMistake("days like 2026-09-02 to 2026-12-18, several with commas between") from error
        if ends < begins:
            raise AnswerMistake(f"{part}: it ends before it begins")
        found.append({"name": f"Term {number}", "first": str(begins), "last": str(ends)})
    return found


def _days(text: str) -> list[str]:
    try:
        return [str(date.fromisoformat(part)) for part in _parts(text)]
    except ValueError as error:
        raise AnswerMistake("days like 2026-10-26, several with commas between") from error


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _choice(*words: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in words:
            raise AnswerMistake(f"one of: {', '.join(words)}")
        return text

    return choose


def _yes(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false"):
        raise AnswerMistake("yes or no")
    return text.lower() in ("yes", "true")


def _seconds(text: str) -> int:
    if not text.isdigit() or not 30 <= int(text) <= 86_400:
        raise AnswerMistake("a number of seconds from 30 to 86400")
    return int(text)


QUESTIONS: Final = (
    Asked(
        key="name",
        question="What is the pack called?",
        help="A short name for files and commands.",
        default="our-school",
        read=_name,
    ),
    Asked(
        key="description",
        question="Whose policy is it?",
        help="One sentence for people who find this folder.",
        default="The policy of our school's devices.",
        read=_said,
    ),
    Asked(
        key="time_zone",
        question="In which time zone is the school?",
        help="Rules for school hours follow it, summer time too.",
        default="Europe/London",
        read=_zone,
    ),
    Asked(
        key="opens",
        question="When does the school day begin?",
        help="Rules 'in school hours' hold from then.",
        default="08:30",
        read=_clock,
    ),
    Asked(
        key="closes",
        question="When does it end?",
        help="The first minute after school.",
        default="15:45",
        read=_clock,
    ),
    Asked(
        key="terms",
        question="When are the terms?",
        help="As '2026-09-02 to 2026-12-18', with commas between. Without any, every weekday counts as school.",
        default="",
        read=_terms,
    ),
    Asked(
        key="closed",
        question="On which days within a term is school closed?",
        help="Half term, training days: as 2026-10-26, with commas between.",
        default="",
        read=_days,
    ),
    Asked(
        key="idle_lock_seconds",
        question="After how many seconds without use does a screen lock?",
        help="Nobody should work under another person's name.",
        default="600",
        read=_seconds,
    ),
    Asked(
        key="plain_media",
        question="What may a stick that is not encrypted do: read-only or block?",
        help="An encrypted stick may be written to either way.",
        default="read-only",
        read=_choice("read-only", "block"),
    ),
    Asked(
        key="usage_off_site",
        question="Is the use of programs counted away from school and out of school hours, too?",
        help="Protections stay everywhere; counting at home is the school's decision, and people are told of it.",
        default="no",
        read=_yes,
    ),
    Asked(
        key="personal_social_media",
        question="May staff use social networks and messaging for themselves in school hours?",
        help="A policy that leaves this open protects nobody. Until the school has decided: no.",
        default="no",
        read=_yes,
    ),
    Asked(
        key="contact",
        question="Whom do people ask about monitoring?",
        help="It stands in the notice that everyone can read.",
        default="Ask the school's office for the designated safeguarding lead.",
        read=_said,
    ),
)


def read_answers(text: str, *, file: str) -> dict[str, Any]:
    """The values of a file of answers (YAML, question's key: answer); defaults where it is silent.

    Raises ``PolicyError`` with every answer that cannot be used.
    """
    source = read(text, file=file)
    given = source.value if isinstance(source.value, dict) else {}
    problems = []
    if not isinstance(source.value, dict | None):
        problems.append(source.problem((), "answers are keys and values", "write name: our-school"))
    known = {asked.key for asked in QUESTIONS}
    for key in given:
        if key not in known:
            at = source.at_key((key,))
            problems.append(
                Problem(
                    position=at,
                    reason=f"unknown key {key!r}",
                    remedy=suggest(key, sorted(known), "questions"),
                )
            )
    values = {}
    for asked in QUESTIONS:
        try:
            values[asked.key] = asked.read(_text_of(given.get(asked.key, asked.default)))
        except AnswerMistake as error:
            problems.append(source.problem((asked.key,), f"{asked.key!r}: write {error}"))
    if problems:
        raise PolicyError(problems)
    return values


def _text_of(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def write_pack(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes the pack of these answers into a new folder; raises ``PolicyError`` and then leaves nothing behind."""
    if folder.exists():
        problem = Problem(
            position=Position(file=str(folder)), reason="it is already there", remedy="name a new folder"
        )
        raise PolicyError([problem])
    if values["closes"] <= values["opens"]:
        problem = Problem(
            position=Position(file="closes"), reason="school ends before it begins", remedy="swap them"
        )
        raise PolicyError([problem])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-pack-") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        for path in sorted(pack_folder(BASE).glob("*.yaml")):
            text = _changed(path.read_text(encoding="utf-8"), values)
            (made / path.name).write_text(format_text(text, file=path.name), encoding="utf-8")
        if not values["personal_social_media"]:
            (made / "social-media.yaml").write_text(
                _NO_SOCIAL_MEDIA.replace("OPENS", values["opens"]), encoding="utf-8"
            )
        load_pack(made)
        load_rules(made)
        shutil.move(made, folder)


_NO_SOCIAL_MEDIA: Final = """\
# Asked when the pack was made (W-42). Take this file away when the school permits it.
applications:
  - id: social.school-hours
    description: Staff use no social networks and no messaging for themselves in school hours.
    why: The school has not permitted it.
    resolution: It works again after school hours. If you need it for school, ask to have it opened.
    source: [W-42]
    audience: [staff]
    when: {school_hours: true}
    decision: block
    match:
      - {category: social}
      - {category: messaging}
    identity: Social networks and messaging
    tests:
      - {name: in school hours, group: staff-laptops, at: Mon OPENS, app: /usr/bin/caprine, expect: block}
      - {name: on Sunday, group: staff-laptops, at: Sun 12:00, app: /usr/bin/caprine, expect: allow}

sites:
  - id: social.sites-school-hours
    description: Staff open no social networks and no messaging for themselves in school hours.
    why: The school has not permitted it.
    resolution: It works again after school hours. If you need it for school, ask to have it opened.
    source: [W-42]
    audience: [staff]
    when: {school_hours: true}
    decision: block
    categories: [social, messaging]
"""


def _change_tests(held: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """The rules' own tests speak of the school's own hours and of what it lets a plain stick do."""
    moments = {"Mon 10:15": f"Mon {values['opens']}", "Mon 18:00": f"Mon {values['closes']}"}
    for section in ("applications", "peripherals", "media"):
        for test in (one for rule in held.get(section, ()) for one in rule.get("tests", ())):
            if test.get("at") in moments:
                test["at"] = moments[test["at"]]
            if test["expect"] == "read-only":
                test["expect"] = values["plain_media"]


def _changed(text: str, values: Mapping[str, Any]) -> str:
    """One file of the default pack with the answers put in; its comments stay."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 110
    held = yaml.load(text)
    if "pack" in held:
        held["pack"] |= {
            "name": values["name"],
            "description": values["description"],
            "detection_from": BASE,
        }
    if "school" in held:
        school = held["school"]
        school["time_zone"] = values["time_zone"]
        for hours in school["hours"]:
            hours["from"], hours["to"] = values["opens"], values["closes"]
        school["terms"], school["closed"] = values["terms"], values["closed"]
    if "screen" in held:
        held["screen"]["idle_lock_seconds"] = values["idle_lock_seconds"]
        seconds = values["idle_lock_seconds"]
        held["screen"]["description"] = f"The screen locks after {seconds} seconds without use."
        held["screen"]["warn_seconds"] = min(int(held["screen"].get("warn_seconds", 0)), seconds // 2)
    _change_tests(held, values)
    for rule in held.get("media", ()):
        if rule.get("access") == "encrypted-only":
            rule["plain"] = values["plain_media"]
            if values["plain_media"] == "block":
                rule["description"] = "A stick or disk can be used only if it is encrypted."
    for item in held.get("collection", {}).get("collected", ()):
        if "application.usage" in item["kinds"]:
            item["off_site"] = item["out_of_hours"] = values["usage_off_site"]
            if values["usage_off_site"]:
                item["notice"] = (
                    "Which programs were open, in school and away from it, at any time, by the hour."
                )
    if "notice" in held:
        held["notice"]["contacts"] = [values["contact"]]
    out = StringIO()
    yaml.dump(held, out)
    return out.getvalue()
