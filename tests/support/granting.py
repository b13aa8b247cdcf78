"""Officers with keys, and grants they sign: for every test that needs one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_policies.officer.keyfile import load_keys
from schoolkeeper_proto import bundle, policy, statements, trust, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granting import Officer
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy
from schoolkeeper_proto.wire import GrantKind

SCHOOL = "tests.example"
START = 1_800_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@dataclass(frozen=True)
class Person:
    officer_id: str
    duty: trust.Duty | None
    titles: tuple[str, ...]
    key: Ed25519PrivateKey

    @property
    def officer(self) -> Officer:
        raw = self.key.public_key().public_bytes_raw()
        return Officer(officer_id=self.officer_id, key=raw, duty=self.duty, titles=self.titles)

    def sign(self, statement: bytes) -> wire.Signature:
        return statements.sign(statements.GRANT, statement, statements.Ed25519Signer(self.key))


def person(officer_id: str, duty: trust.Duty | None, *titles: str) -> Person:
    return Person(officer_id, duty, titles, Ed25519PrivateKey.generate())


TECHNICIAN = person("technician", trust.Duty.TECHNICAL, "technician")
SECOND_TECHNICIAN = person("second-technician", trust.Duty.TECHNICAL, "technician")
DSL = person("dsl", trust.Duty.SAFEGUARDING, "dsl")
TEACHER = person("teacher", None, "teacher")
OFFICERS = tuple(one.officer for one in (TECHNICIAN, SECOND_TECHNICIAN, DSL, TEACHER))


def statement(kind: GrantKind, *, minutes: int = 60, **fields: object) -> wire.GrantStatement:
    values: dict[str, object] = {
        "school_id": SCHOOL,
        "grant_id": os.urandom(16),
        "kind": kind,
        "not_before_unix_ms": START,
        "expires_unix_ms": START + minutes * MINUTE,
        "groups": ("ks2-laptops",),
    }
    return wire.GrantStatement(**(values | fields))  # type: ignore[arg-type]


def signed(said: wire.GrantStatement, *people: Person) -> wire.Grant:
    data = encode(said)
    return wire.Grant(statement=data, signatures=tuple(one.sign(data) for one in people))


def block_payload(path: str = "/usr/bin/vpn", decision: DecisionKind = DecisionKind.BLOCK) -> bytes:
    return encode(
        policy.GrantPayload(applications=policy.ApplicationsSection(rules=(app_rule("vpn", path, decision),)))
    )


def ends(*grant_ids: bytes) -> bytes:
    return encode(policy.GrantPayload(grant_ids=grant_ids))


def app_rule(
    rule_id: str, path: str, decision: DecisionKind = DecisionKind.BLOCK, **fields: object
) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=policy.RuleText(rule_id=rule_id, safeguarding=bool(fields.pop("safeguarding", False))),
        decision=decision,
        matches=(policy.ApplicationMatch(by=MatchBy.PATH, text=path),),
        **fields,  # type: ignore[arg-type]
    )


def opened(
    rules: tuple[policy.ApplicationRule, ...] = (),
    bounds: tuple[policy.GrantBound, ...] = (),
    *others: policy.Section,
) -> bundle.OpenBundle:
    sections: list[policy.Section] = [policy.ApplicationsSection(rules=rules), *others]
    if bounds:
        sections.append(policy.GrantsSection(bounds=bounds))
    data = bundle.build(
        school_id=SCHOOL,
        group="ks2-laptops",
        version=1,
        compiled_at_unix_ms=START,
        sections=tuple(sections),
    )
    return bundle.open_bundle(data, school_id=SCHOOL, group="ks2-laptops", capabilities=frozenset())


def demo_officer(offline: Path, name: str) -> Person:
    """An officer of a school that ``init --demo`` made, from the key file that it left."""
    keys = load_keys(offline / name / f"{name}.key", None)
    return Person(name, keys.duty, (), keys.signing)
