"""The table on the disk: one file, replaced in one step and durable before anything is said to be in force.

Only what the officers signed gives a right, so a file that was tampered with can end grants and never make one.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from schoolkeeper_agent.clock import PoweredOn
from schoolkeeper_agent.grants.table import Held, Revoked, Table, grant_bytes
from schoolkeeper_agent.identity import write_private
from schoolkeeper_proto import granting, wire
from schoolkeeper_proto.codec import WireFormatError, decode

NAME = "grants/table.json"
_FORMAT = 1
_log = logging.getLogger(__name__)


def load(state_dir: Path) -> tuple[Table, str]:
    """The table that was kept, and what is wrong with it: then it is empty, and the collector sends grants again."""
    path = state_dir / NAME
    try:
        said = json.loads(path.read_bytes())
        if said["format"] != _FORMAT:
            raise ValueError(f"its format is {said['format']}, not {_FORMAT}")
        return _table(said), ""
    except FileNotFoundError:
        return Table(), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, WireFormatError) as error:
        return Table(), f"{path} cannot be read ({error}): grants begin anew when the collector sends them"


def save(state_dir: Path, table: Table) -> None:
    """Durable on return; raises ``OSError``."""
    said = {
        "format": _FORMAT,
        "held": [
            {
                "grant": grant_bytes(one).hex(),
                "granted_ms": one.powered.granted_ms,
                "used_ms": one.powered.used_ms,
                "last_ms": one.powered.last_monotonic_ms,
                "boot": one.powered.boot_id.hex(),
                "told": one.told,
            }
            for one in table.held
        ],
        "ended": {grant_id.hex(): until for grant_id, until in table.ended.items()},
        "revoked": {grant_id.hex(): [one.until_ms, one.both] for grant_id, one in table.revoked.items()},
        "refused": {grant_id.hex(): why for grant_id, why in table.refused.items()},
    }
    write_private(state_dir / NAME, json.dumps(said).encode())


def _table(said: dict[str, Any]) -> Table:
    return Table(
        held=tuple(_held(one) for one in said["held"]),
        ended={bytes.fromhex(k): int(until) for k, until in said["ended"].items()},
        revoked={
            bytes.fromhex(k): Revoked(until_ms=int(until), both=bool(both))
            for k, (until, both) in said["revoked"].items()
        },
        refused={bytes.fromhex(k): str(why) for k, why in said["refused"].items()},
    )


def _held(said: dict[str, Any]) -> Held:
    grant = decode(wire.Grant, bytes.fromhex(said["grant"]))
    statement = decode(wire.GrantStatement, grant.statement)
    length = statement.expires_unix_ms - statement.not_before_unix_ms
    return Held(
        grant=grant,
        statement=statement,
        payload=granting.payload_of(statement),
        powered=PoweredOn(
            granted_ms=min(int(said["granted_ms"]), length),
            expires_unix_ms=statement.expires_unix_ms,
            used_ms=max(0, int(said["used_ms"])),
            last_monotonic_ms=None if said["last_ms"] is None else int(said["last_ms"]),
            boot_id=bytes.fromhex(said["boot"]),
        ),
        told=bool(said["told"]),
    )
