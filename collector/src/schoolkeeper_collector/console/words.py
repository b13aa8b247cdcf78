"""The console's languages: gettext catalogues read from their .po files, and times as a person says them.

The .po files are the one committed form; they are compiled in memory at start, so that no catalogue can be stale.
"""

from __future__ import annotations

import gettext as stdlib_gettext
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE = Path(__file__).parent / "locale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language of the console. ``share`` is the part of all sentences that is translated, from 0 to 1."""

    code: str
    name: str
    share: float
    gettext: Callable[[str], str]
    ngettext: Callable[[str, str, int], str]


def english() -> Language:
    """Return the language that the sources are written in."""
    nothing = stdlib_gettext.NullTranslations()
    return Language(code="en", name="English", share=1.0, gettext=nothing.gettext, ngettext=nothing.ngettext)


def translated(code: str, name: str) -> Language:
    """Read one catalogue; sentences without a translation, or with a doubtful one, stay English."""
    with (LOCALE / code / "LC_MESSAGES" / "console.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    translations = stdlib_gettext.GNUTranslations(compiled)
    messages = [message for message in catalogue if message.id]
    done = sum(_complete(message.string) and not message.fuzzy for message in messages)
    return Language(
        code=code,
        name=name,
        share=done / len(messages) if messages else 0.0,
        gettext=translations.gettext,
        ngettext=translations.ngettext,
    )


def _complete(text: object) -> bool:
    return all(text) if isinstance(text, (tuple, list)) else bool(text)


def load_languages() -> dict[str, Language]:
    """Return every language of the console by its code; English first."""
    return {"en": english(), "cy": translated("cy", "Cymraeg")}


def said(at_ms: int, now_ms: int, zone: ZoneInfo, language: Language) -> str:
    """Say a time (Unix ms) the way a person would. Never "5 minutes ago": a page may stay open for an hour."""
    at, now = _local(at_ms, zone), _local(now_ms, zone)
    _, code = language.gettext, language.code
    clock = format_time(at, "HH:mm", locale=code)
    days = (now.date() - at.date()).days
    if days == 0:
        return _("today at %(time)s") % {"time": clock}
    if days == 1:
        return _("yesterday at %(time)s") % {"time": clock}
    shape = "EEEE d MMMM" if abs(days) < 200 else "d MMMM y"
    return _("%(day)s at %(time)s") % {"day": format_date(at, shape, locale=code), "time": clock}


def clock_time(at_ms: int, zone: ZoneInfo, language: Language) -> str:
    """Give the time of day (Unix ms) to the minute."""
    return format_time(_local(at_ms, zone), "HH:mm", locale=language.code)


def exact(at_ms: int, zone: ZoneInfo, language: Language) -> str:
    """Give a time (Unix ms) to the second, with its zone."""
    return format_datetime(_local(at_ms, zone), "EEEE d MMMM y, HH:mm:ss zzz", locale=language.code)


def on_day(day: date, language: Language) -> str:
    """Give a day, without its weekday."""
    return format_date(day, "d MMMM y", locale=language.code)


def machine_time(at_ms: int, zone: ZoneInfo) -> str:
    """Give a time (Unix ms) as ISO 8601, for the datetime attribute."""
    return _local(at_ms, zone).isoformat(timespec="seconds")


def lasting(seconds: int, language: Language) -> str:
    """Say a length of time in its largest whole unit."""
    ngettext = language.ngettext
    if seconds >= 86_400:
        num = seconds // 86_400
        return ngettext("%(num)d day", "%(num)d days", num) % {"num": num}
    if seconds >= 3_600:
        num = seconds // 3_600
        return ngettext("%(num)d hour", "%(num)d hours", num) % {"num": num}
    if seconds >= 60:
        num = seconds // 60
        return ngettext("%(num)d minute", "%(num)d minutes", num) % {"num": num}
    return ngettext("%(num)d second", "%(num)d seconds", seconds) % {"num": seconds}


def day_start(now_ms: int, zone: ZoneInfo) -> int:
    """Return when the present day began, in Unix ms."""
    midnight = _local(now_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(midnight.timestamp() * 1000)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, zone)
