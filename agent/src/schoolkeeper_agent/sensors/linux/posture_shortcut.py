"""Whether a person finds CEOP's report page in the desktop's menu (W-101). Pure; cheap: a few hundred small files."""

from __future__ import annotations

from collections.abc import Iterable

from schoolkeeper_agent.sensors.linux.posture_parsers import Finding
from schoolkeeper_proto.model import PostureResult

SITE = "ceop.police.uk"
_HIDES = ("nodisplay=true", "hidden=true")


def ceop_shortcut(entries: Iterable[str]) -> Finding:
    """From the texts of the menu's entries for everybody (Desktop Entry Specification 1.5).

    One that is hidden leads nobody anywhere; whether a browser may open the page is the policy's matter.
    """
    hidden = False
    for entry in entries:
        lines = [line.strip().lower().replace(" ", "") for line in _main_group(entry)]
        if not any(SITE in line for line in lines if line.startswith(("exec=", "url="))):
            continue
        if not any(line.startswith(_HIDES) for line in lines):
            return Finding(result=PostureResult.PASS, evidence=f"the menu leads to {SITE}")
        hidden = True
    missing = "an entry is there, and hidden" if hidden else f"no entry of the menu leads to {SITE}"
    return Finding(result=PostureResult.FAIL, evidence=missing)


def _main_group(entry: str) -> Iterable[str]:
    """The lines of [Desktop Entry] alone: an action below it is no entry of the menu."""
    inside = False
    for line in entry.splitlines():
        if line.startswith("["):
            inside = line.strip() == "[Desktop Entry]"
        elif inside:
            yield line
