"""What the school wants devices to hear: commands, grants, newly published policy. Polled, since others write them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import commands, grants
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode

_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class OpenCommand:
    command_id: bytes
    device_id: bytes
    command: wire.Command


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """``device_ids`` and ``groups`` both empty means everyone."""

    grant_id: bytes
    device_ids: frozenset[bytes]
    groups: frozenset[str]
    grant: wire.Grant

    def concerns(self, device_id: bytes, group: str) -> bool:
        everyone = not self.device_ids and not self.groups
        return everyone or device_id in self.device_ids or group in self.groups


@dataclass(frozen=True, slots=True)
class Directives:
    commands: tuple[OpenCommand, ...] = ()
    grants: tuple[LiveGrant, ...] = ()


class DirectiveSource:
    """Blocking; called on a worker thread."""

    def __init__(self, store: Store, school_id: str) -> None:
        self._store = store
        self._school_id = school_id
        self._decoded: dict[bytes, LiveGrant] = {}

    def poll(self, now_ms: int) -> Directives:
        """Unanswered commands and grants that have not expired."""
        with self._store.read() as connection:
            open_commands = connection.execute(
                select(commands.c.command_id, commands.c.device_id, commands.c.command)
                .where(
                    commands.c.school_id == self._school_id,
                    commands.c.answered_ms.is_(None),
                    commands.c.expires_ms > now_ms,
                )
                .limit(_AT_ONCE)
            ).all()
            live = connection.execute(
                select(grants.c.grant_id, grants.c.grant_bytes)
                .where(grants.c.school_id == self._school_id, grants.c.expires_ms > now_ms)
                .limit(_AT_ONCE)
            ).all()
        found = []
        for row in open_commands:
            try:
                command = decode(wire.Command, row.command)
            except WireFormatError:
                continue
            found.append(OpenCommand(bytes(row.command_id), bytes(row.device_id), command))
        return Directives(
            tuple(found), tuple(self._grants([(bytes(r.grant_id), bytes(r.grant_bytes)) for r in live]))
        )

    def sent(self, command_ids: list[bytes], now_ms: int) -> None:
        where = (commands.c.school_id == self._school_id, commands.c.command_id.in_(command_ids))
        with self._store.write() as connection:
            connection.execute(update(commands).where(*where).values(sent_ms=now_ms))

    def _grants(self, rows: list[tuple[bytes, bytes]]) -> list[LiveGrant]:
        known = self._decoded
        self._decoded = {}
        for grant_id, data in rows:
            grant = known.get(grant_id) or _live_grant(grant_id, data)
            if grant is not None:
                self._decoded[grant_id] = grant
        return list(self._decoded.values())


def _live_grant(grant_id: bytes, data: bytes) -> LiveGrant | None:
    try:
        grant = decode(wire.Grant, data)
        statement = decode(wire.GrantStatement, grant.statement)
    except WireFormatError:
        return None
    return LiveGrant(grant_id, frozenset(statement.device_ids), frozenset(statement.groups), grant)
