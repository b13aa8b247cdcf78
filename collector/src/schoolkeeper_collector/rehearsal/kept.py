"""The last plan that was made here, kept as a file so that the console can show it at once, with its age."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_policies.trying.backtest import Pair
from schoolkeeper_policies.trying.report import Plan, plan_json

_NAME = "rehearsal.json"
_FORMAT = 1
_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """``sources``: group -> what the later bundle was compiled from, in hexadecimal. ``plan`` as ``plan_json``."""

    made_unix_ms: int
    days: int
    of: str
    sources: dict[str, str]
    unreadable: int
    plan: dict[str, Any]


def sources_of(pairs: Mapping[str, Pair]) -> dict[str, str]:
    return {group: pair.after.manifest.source_hash.hex() for group, pair in sorted(pairs.items())}


def keep(
    state_dir: Path,
    plan: Plan,
    pairs: Mapping[str, Pair],
    *,
    of: str,
    days: int,
    unreadable: int,
    now_ms: int,
) -> None:
    """Replaces the plan that is kept."""
    held = {
        "format": _FORMAT,
        "made_unix_ms": now_ms,
        "days": days,
        "of": of,
        "sources": sources_of(pairs),
        "unreadable": unreadable,
        "plan": plan_json(plan),
    }
    write_file(SchoolPaths(state_dir).policy / _NAME, json.dumps(held, indent=1).encode())


def read_kept(state_dir: Path) -> KeptPlan | None:
    """The last plan; None when there is none, or it is of another version of this program."""
    path = SchoolPaths(state_dir).policy / _NAME
    try:
        data = path.read_bytes()
        held = json.loads(data) if len(data) <= _MAX_BYTES else {}
        if held.pop("format") != _FORMAT:
            return None
        return KeptPlan(**held)
    except (OSError, ValueError, KeyError, TypeError):
        return None
