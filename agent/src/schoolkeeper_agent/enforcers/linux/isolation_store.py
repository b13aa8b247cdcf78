"""What outlasts the agent and a restart: the table's text, which a unit loads before the network, and the state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.isolation_rules import Endpoint
from schoolkeeper_agent.identity import write_private

FOLDER = "isolation"
RULES = "rules.nft"
_STATE, _KNOWN = "state.json", "addresses.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The isolation that is in place, or was asked for and rolled back (``in_place`` False)."""

    grant_id: bytes
    since_unix_ms: int
    until_unix_ms: int
    in_place: bool
    allowed: tuple[Endpoint, ...] = ()


class Store:
    """Files below the state folder, each replaced in one step and durable on return. Methods raise ``OSError``."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / FOLDER

    @property
    def rules(self) -> Path:
        return self.folder / RULES

    def load(self) -> Kept | None:
        """None when nothing is kept; a file that cannot be read counts as something of nobody's."""
        try:
            said = json.loads((self.folder / _STATE).read_bytes())
            return Kept(
                grant_id=bytes.fromhex(said["grant"]),
                since_unix_ms=int(said["since"]),
                until_unix_ms=int(said["until"]),
                in_place=bool(said["in_place"]),
                allowed=tuple(Endpoint(str(a), int(p)) for a, p in said["allowed"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return Kept(grant_id=b"", since_unix_ms=0, until_unix_ms=0, in_place=self.rules.exists())

    def keep(self, kept: Kept, rules: str) -> None:
        """First the text, so that a power cut leaves the device isolated and never the other way round."""
        if kept.in_place:
            write_private(self.rules, rules.encode())
        else:
            self.rules.unlink(missing_ok=True)
        said = {
            "grant": kept.grant_id.hex(),
            "since": kept.since_unix_ms,
            "until": kept.until_unix_ms,
            "in_place": kept.in_place,
            "allowed": [[one.address, one.port] for one in kept.allowed],
        }
        write_private(self.folder / _STATE, json.dumps(said).encode())

    def forget(self) -> None:
        self.rules.unlink(missing_ok=True)
        (self.folder / _STATE).unlink(missing_ok=True)

    def known(self) -> dict[str, tuple[Endpoint, ...]]:
        """``host:port`` -> what it last stood for; nothing of a file that cannot be read."""
        try:
            said = json.loads((self.folder / _KNOWN).read_bytes())
            return {str(k): tuple(Endpoint(str(a), int(p)) for a, p in v) for k, v in said.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def know(self, known: dict[str, tuple[Endpoint, ...]]) -> None:
        if known != self.known():
            said = {name: [[one.address, one.port] for one in found] for name, found in known.items()}
            write_private(self.folder / _KNOWN, json.dumps(said).encode())
