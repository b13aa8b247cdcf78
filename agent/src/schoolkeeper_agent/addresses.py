"""Under which addresses the collector may be found, in the order to try them.

First a signed move (a command of the school, kept until the next key statement), then the officers' key statement (or,
when the set in force is damaged, what the last one said), then the address of the enrolment, then what the local
configuration adds. An address alone is never trusted: the server behind it must show a certificate of the school's CA.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.identity import FOLDER, Identity, write_private
from schoolkeeper_agent.net import AddressError, split_address
from schoolkeeper_agent.trust import FOLDER as TRUST_FOLDER
from schoolkeeper_agent.trust import Trust
from schoolkeeper_proto import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """``host:port`` each, most preferred first."""

    uplink: tuple[str, ...]
    enrolment: tuple[str, ...]


def known_addresses(
    state_dir: Path,
    identity: Identity | None,
    trust: Trust | None,
    *,
    extra_uplink: Iterable[str] = (),
    extra_enrolment: Iterable[str] = (),
) -> Addresses:
    """Everything that is known, without repeats."""
    uplink, enrolment = _moved(state_dir, trust)
    if trust is not None:
        uplink += trust.key_statement.uplink_addresses
        enrolment += trust.key_statement.enrolment_addresses
    else:
        last = _read(state_dir / TRUST_FOLDER / "addresses.json")
        uplink += last.uplink
        enrolment += last.enrolment
    if identity is not None:
        enrolment += identity.enrolment_addresses
    return Addresses(
        uplink=tuple(dict.fromkeys((*uplink, *extra_uplink))),
        enrolment=tuple(dict.fromkeys((*enrolment, *extra_enrolment))),
    )


def keep_move(state_dir: Path, order: wire.MoveCollector, trust: Trust) -> None:
    """Keeps a move whose command was verified. Raises ``AddressError`` for one that names no usable address."""
    for address in (*order.uplink_addresses, *order.enrolment_addresses):
        split_address(address)
    if not order.uplink_addresses:
        raise AddressError("the move names no uplink address: nothing was changed")
    said = {
        "uplink": list(order.uplink_addresses),
        "enrolment": list(order.enrolment_addresses),
        "key_statement_version": trust.key_statement.version,
    }
    write_private(state_dir / FOLDER / "move.json", json.dumps(said).encode())


def _moved(state_dir: Path, trust: Trust | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    path = state_dir / FOLDER / "move.json"
    try:
        before = int(json.loads(path.read_bytes())["key_statement_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return (), ()
    if trust is not None and trust.key_statement.version > before:
        return (), ()
    moved = _read(path)
    return moved.uplink, moved.enrolment


def _read(path: Path) -> Addresses:
    try:
        said = json.loads(path.read_bytes())
        return Addresses(uplink=tuple(map(str, said["uplink"])), enrolment=tuple(map(str, said["enrolment"])))
    except (OSError, ValueError, KeyError, TypeError):
        return Addresses(uplink=(), enrolment=())
