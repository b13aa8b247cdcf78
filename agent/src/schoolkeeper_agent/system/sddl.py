"""Rights on files as Windows writes them in one line (security descriptor definition language, sddl.h). Pure."""

from __future__ import annotations

import re

_TRUSTED = frozenset({"SY", "BA", "CO", "OW", "S-1-5-18", "S-1-5-32-544", "S-1-3-0", "S-1-3-4"})
"""The system, the administrators, and whoever owns or makes a file."""
_OWNER = re.compile(r"O:(S-[0-9-]+|[A-Z]{2})")
_ALLOWS = re.compile(r"\(A;[^;]*;[^;]*;[^;]*;[^;]*;([^;)]+)[^)]*\)")


def owner_of(text: str) -> str:
    """The account that owns the file; empty when the text does not say."""
    found = _OWNER.match(text)
    return found.group(1) if found else ""


def others_in(text: str) -> tuple[str, ...]:
    """Accounts and groups beside the trusted ones and the owner that may do anything with it at all."""
    allowed = _ALLOWS.findall(text)
    if "D:" not in text or "NO_ACCESS_CONTROL" in text:
        return ("WD",)  # no list at all: everybody may do everything
    return tuple(sorted(set(allowed) - _TRUSTED - {owner_of(text)}))


def rights_for(owner: str, *, everyone_reads: bool) -> str:
    """Everything for the system, administrators and the owner, inherited by what lies inside; nothing from above."""
    full = dict.fromkeys(("SY", "BA", *((owner,) if owner else ())))
    entries = [f"(A;OICI;FA;;;{who})" for who in full]
    if everyone_reads:
        entries.append("(A;OICI;0x1200a9;;;BU)")
    return "D:P" + "".join(entries)
