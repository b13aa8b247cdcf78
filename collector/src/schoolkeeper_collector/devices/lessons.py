"""Lessons that a member of staff opens on the console: what the signed policy lets them open, opening, ending.

The policy that officers signed says which rules a lesson may open on the console, in which hours, for how long at most
(``GrantBound.console``), for each group in its own bundle. Within that the collector's command key signs the grant, and
every device checks the same bound by itself: whoever holds that key opens nothing else and nothing longer.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from schoolkeeper_collector.devices import grants
from schoolkeeper_collector.devices.grants import GrantError, GrantLine, GrantState
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_proto import granting, policy, statements, trust, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granted import rules_of
from schoolkeeper_proto.wire import GrantKind

_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing that staff may open for one group. ``key`` names it while the policy says the same."""

    key: str
    group: str
    rules: tuple[policy.RuleText, ...]
    max_minutes: int
    windows: tuple[policy.TimeWindow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Signs what staff ask for. Every call inside the caller's transaction; raises ``GrantError``."""

    repository: Repository
    school_id: str
    signer: statements.Signer

    def offers(self) -> tuple[Offer, ...]:
        """Of every group's policy in force, by group. Raises what the repository raises."""
        found: list[Offer] = []
        for group, (sha256, _) in sorted(self.repository.current().bundles.items()):
            name = trust.target_file_name(trust.bundle_target(group), sha256.hex())
            bundle = open_whole(self.repository.read_file(f"targets/{name}"), self.school_id, group)
            texts = {rule.text.rule_id: rule.text for rule in rules_of(bundle)}
            ground = granting.ground_of(bundle)
            for bound in ground.bounds:
                covered = tuple(text for name, text in texts.items() if granting.covers(bound, name, ground))
                if bound.kind == GrantKind.LESSON and bound.console and covered:
                    key = hashlib.sha256(group.encode() + b"|" + encode(bound)).hexdigest()[:16]
                    found.append(
                        Offer(
                            key=key,
                            group=group,
                            rules=covered,
                            max_minutes=bound.max_seconds // 60,
                            windows=bound.console,
                        )
                    )
        return tuple(found)

    def open(
        self, connection: Connection, offer: Offer, from_ms: int, until_ms: int, reason: str, now_ms: int
    ) -> wire.GrantStatement:
        """The grant, published: connected devices have it in seconds. Times are Unix milliseconds."""
        grant_id = os.urandom(16)
        said = wire.GrantStatement(
            school_id=self.school_id,
            grant_id=grant_id,
            kind=GrantKind.LESSON,
            not_before_unix_ms=from_ms,
            expires_unix_ms=until_ms,
            groups=(offer.group,),
            rule_ids=tuple(rule.rule_id for rule in offer.rules),
            reason_commitment=hashlib.sha256(grant_id + reason.encode()).digest(),
        )
        return self._publish(connection, said, now_ms)

    def end(self, connection: Connection, lesson: GrantLine, now_ms: int) -> wire.GrantStatement:
        """Ends a lesson before its time, whoever signed it."""
        if lesson.kind is not GrantKind.LESSON:
            raise GrantError("that is no lesson: officers end other grants")
        said = wire.GrantStatement(
            school_id=self.school_id,
            grant_id=os.urandom(16),
            kind=GrantKind.REVOKE,
            not_before_unix_ms=now_ms,
            expires_unix_ms=max(lesson.statement.expires_unix_ms, now_ms + _MINUTE_MS),
            groups=lesson.statement.groups,
            device_ids=lesson.statement.device_ids,
            payload=encode(policy.GrantPayload(grant_ids=(lesson.grant_id,))),
        )
        return self._publish(connection, said, now_ms)

    def _publish(self, connection: Connection, said: wire.GrantStatement, now_ms: int) -> wire.GrantStatement:
        data = encode(said)
        signature = statements.sign(statements.GRANT, data, self.signer)
        beside = grants.beside(self.repository, self.school_id)
        signed = encode(wire.Grant(statement=data, signatures=(signature,)))
        return grants.publish(connection, beside, signed, now_ms)


def live_lessons(connection: Connection, school_id: str, now_ms: int) -> tuple[GrantLine, ...]:
    """Lessons that are open or will be, whoever signed them; the first to end first."""
    found = (
        line
        for line in grants.list_grants(connection, school_id, now_ms)
        if line.kind is GrantKind.LESSON and line.state in (GrantState.WAITING, GrantState.RUNNING)
    )
    return tuple(sorted(found, key=lambda line: (line.statement.expires_unix_ms, line.grant_id)))
