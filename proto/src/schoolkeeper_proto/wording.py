"""Times and lists as people read them on a terminal: one form for device and policy tool."""

from __future__ import annotations

from schoolkeeper_proto.policy import CategoryWords, NoticeSection, TimeWindow

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHOWN = 6
"""So many of a long list are named; a category has hundreds."""


def clock(minute: int) -> str:
    """Minutes since midnight as ``08:30``."""
    return f"{minute // 60:02}:{minute % 60:02}"


def window(said: TimeWindow) -> str:
    """``Mon Tue 08:30-15:45``."""
    days = " ".join(day for bit, day in enumerate(DAYS) if said.weekdays >> bit & 1)
    return f"{days} {clock(said.from_minute)}-{clock(said.to_minute)}"


def reworded(held: CategoryWords, languages: tuple[str, ...], levels: tuple[str, ...]) -> str:
    """What the school calls its category, in the first of the languages and the first of the levels that it gave."""
    given = {(one.level, one.language): one.said for one in held.rewordings}
    return next((given[level, lang] for lang in languages for level in levels if (level, lang) in given), "")


def category(name: str, notice: NoticeSection) -> str:
    """``chess-sites (chess)`` where the school has words for it, else the name: for whoever reads rules."""
    held = next((one for one in notice.categories if one.name == name), None)
    said = reworded(held, (notice.language, "en", "cy"), ("plain",)) if held is not None else ""
    return f"{name} ({said})" if said else name


def few(texts: list[str]) -> str:
    """The first few, and how many there are more."""
    rest = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
