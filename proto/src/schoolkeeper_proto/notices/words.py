"""What a language and reading level must be able to say. A missing word is an error at import, not a gap on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_proto.notices.facts import Act, Audience, Family, Thing


class Level(StrEnum):
    """How it is written. Early: read to, or with, children of about 4 to 7. Junior: about 8 to 11. Plain: everybody."""

    EARLY = "early"
    JUNIOR = "junior"
    PLAIN = "plain"


class Language(StrEnum):
    ENGLISH = "en"
    WELSH = "cy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language at one level.

    ``acts`` holds sentences by (thing, act) with ``{what}`` and ``{time}``; one for (thing, None) serves the rest.
    ``never`` is what the product cannot do at all, whatever a policy says; ``limit`` is that it cannot stop everything
    (W-112), which every notice says.
    """

    title: str
    introduction: Mapping[Audience, str]
    restricted: str
    nothing_restricted: str
    limit: str
    collected: str
    nothing_collected: str
    always: str
    not_watched: str
    never: tuple[str, ...]
    not_checked: str
    kept_longer: str
    longer: tuple[str, ...]
    contacts: str
    no_contacts: str
    urgent: str
    source: str
    families: Mapping[Family, str]
    acts: Mapping[tuple[Thing, Act | None], str]
    anything: Mapping[Thing, str]
    names: Mapping[str, str]
    readers: Mapping[str, str]
    who: str
    kept: Callable[[int], str]
    some_kept: Callable[[int], str]
    at_school_only: str
    at_times_only: str
    stopped: str
    days: tuple[str, str, str, str, str, str, str]
    times: Callable[[str], str]
    day_range: str
    joined: str
    on_site: str
    off_site: str
    some_days: str
    some_people: str
    exceptions: str
    duration: Callable[[int], str]

    def __post_init__(self) -> None:
        missing: list[object] = [a for a in Audience if a not in self.introduction]
        missing += [family for family in Family if family not in self.families]
        missing += [thing for thing in Thing if (thing, None) not in self.acts]
        missing += [thing for thing in Thing if thing not in self.anything]
        if missing:
            raise ValueError(f"the words of {self.title!r} say nothing of {', '.join(map(str, missing))}")
