"""Every way, tried; and the page of the documentation that says what came of each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from support.evasion import holding, programs
from support.evasion.arena import Arena, Result, Rules, arena, missing
from support.evasion.published import PUBLISHED
from support.evasion.way import Kind, Way

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "agent/docs/evasion.md"
ONCE = frozenset({Kind.NETWORK, Kind.SESSION, Kind.TAMPER})
"""Classes that an allow list changes nothing about: they are tried once."""
_WHO = {False: "pupil", True: "administrator"}
_SAME = "as left"


def all_ways() -> tuple[Way, ...]:
    """By class; the one that was written apart comes first."""
    found = (*PUBLISHED, *programs.WAYS, *holding.WAYS)
    return tuple(way for kind in Kind for way in found if way.kind is kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``listed`` None: the allow list makes no difference there."""

    way: Way
    named: Result
    listed: Result | None

    @property
    def line(self) -> str:
        listed = _SAME if self.listed is None else self.listed.value
        name = f"**{self.way.name}**" if self.way.apart else self.way.name
        return f"| {name} | {_WHO[self.way.admin]} | {self.named.value} | {listed} |"


class DoesNothing(AssertionError):
    """A way that does not work where nothing is enforced shows nothing."""


async def rows(ways: Iterable[Way]) -> list[Row]:
    """What came of each; one that cannot be tried here is left out, with a word on the standard output."""
    ways = tuple(ways)
    here = [way for way in ways if not _missing(way)]
    async with arena() as tried:
        await tried.enforce(Rules.NONE)
        for way in here:
            await _control(tried, way)
        await tried.enforce(Rules.NAMED)
        named = {way.name: await tried.attempt(way) for way in here}
        listed: dict[str, Result] = {}
        if any(way.kind not in ONCE for way in here):
            await tried.enforce(Rules.LIST)
            listed = {way.name: await tried.attempt(way) for way in here if way.kind not in ONCE}
    return [Row(way=way, named=named[way.name], listed=listed.get(way.name)) for way in here]


def _missing(way: Way) -> str:
    reason = missing(way)
    if reason:
        print(f"not tried here ({reason}): {way.name}")
    return reason


async def _control(tried: Arena, way: Way) -> None:
    """Without rules it must work; where the kernel itself refuses a pupil, it must work for an administrator."""
    if way.lone or await tried.attempt(way) is not Result.PREVENTED:
        return
    if way.admin or way.staged or await tried.attempt(way, as_admin=True) is Result.PREVENTED:
        raise DoesNothing(f"{way.kind}: {way.name!r} does not work even where nothing is enforced")


def page(found: Iterable[Row]) -> str:
    """The whole page."""
    found = list(found)
    counts = {result: sum(row.named is result for row in found) for result in Result}
    said = ", ".join(f"{count} {result.value}" for result, count in counts.items())
    lines = [_HEAD.format(count=len(found), said=said)]
    for kind in Kind:
        held = [row for row in found if row.way.kind is kind]
        if held:
            lines += [
                f"### {kind.value.capitalize()}",
                "",
                "| way | by | named | allow list |",
                "|---|---|---|---|",
            ]
            lines += [row.line for row in held]
            lines.append("")
    lines.append(_SOURCES)
    lines += [f"- {row.way.name}: {row.way.source}" for row in found if row.way.apart]
    lines += ["", _TAIL]
    return "\n".join(lines)


_HEAD = """# Ways round a rule, tried

{count} ways round a rule on Linux. Where a rule names the program:
{said}.

Made by `python tests/evasion/write_table.py` from what happened; `make evasion` tries every way anew and compares. Each
row is a command that is executed: against the agent's own exec responder with real fanotify marks on a file system that
the test mounted, its process sensor, its core and its session socket, and for the network in namespaces with the sensor
of ways round the filter. Each is tried without rules first, where it has to work.

- **named**: a rule for every hour of the day names the program by path, file name and SHA-256, and its scripts too.
  **allow list**: a rule refuses whatever an administrator did not install (`origin: personal`); see `enforcement.md`.
- **prevented**: the program did not start, or what was tried changed nothing. **detected and ended**: it began, an
  event says so, and the agent ended it; for some thousandths of a second it ran. **detected**: it works, and an event
  says so. **not covered**: it works, and nobody is told.
- **administrator**: with root, which a pupil does not have.
- In bold: written before and apart from the defence, from public documentation alone (below).
"""

_SOURCES = """## Written apart

What these were made from:
"""

_TAIL = """## What is not covered, in words

- A changed copy is another program to a rule by hash, and under another name to a rule by name. Only the allow list
  holds against whoever compiles or alters programs.
- What an interpreter reads: a script under another name, as input, as text, as a library, or through a copied
  interpreter. The allow list asks nothing about scripts and libraries, since lessons are made of them; where pupils
  should run none, refuse the interpreters (`category`, `package`) for those groups.
- A program that speaks to the network by itself: its own proxy, relay or name servers over HTTPS. The school's filter
  sees its packets; the agent does not look into them.
- Not tried here, and not covered: a program started in the instant in which a stick is being mounted; writing to a
  file between the decision and the kernel's own lock on it; a FUSE file system of a person's own (seen by the process
  sensor); another system started from a stick; root that ends the agent for good (the collector hears its silence).
"""


@contextlib.asynccontextmanager
async def under(rules: Rules) -> AsyncIterator[Arena]:
    """An arena where these rules hold."""
    async with arena() as made:
        await made.enforce(rules)
        yield made


def told(text: str) -> dict[str, str]:
    """Way -> line, of the page."""
    return {
        line.split("|")[1].strip().strip("*"): line
        for line in text.split("\n")
        if line.startswith("| ") and not line.startswith(("| way", "|--"))
    }


def copy_of(source: str, target: Path, more: bytes = b"") -> Path:
    """A program's copy that can be executed."""
    shutil.copy(source, target)
    if more:
        target.write_bytes(Path(source).read_bytes() + more)
    target.chmod(0o755)
    return target
