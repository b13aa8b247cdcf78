"""A school with devices and people for tests of detection and incidents: real databases, events as blobs hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import Connection, func, insert, select, update

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.engine import Budget, Detection
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.ruleset import RuleSet
from schoolkeeper_policies.model import School
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number
from support.stores import StoreUrls, migrated

SCHOOL = "westgate.example"
NOON_MS = 1_793_012_400_000  # Monday, 26 October 2026, 11:00 UTC: a school day
HOUR_MS = 3_600_000
TECH, DSL, HEAD = "acc-tech", "acc-dsl", "acc-head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What `store.events` would give for one stored event."""

    event_no: int
    device_no: int
    event_ms: int
    received_ms: int
    leaf_index: int
    epoch: bytes
    event: model.Event


@cache
def default_rules() -> RuleSet:
    """The detection rules of the default pack; reading them costs more than most tests."""
    return load_rules("default")


@cache
def default_school() -> School:
    """The school of the default pack."""
    return load_pack("default").school


@dataclass
class Bench:
    """One school on one store. Events are kept here and their narrow rows in the store."""

    store: Store
    rules: RuleSet
    school: School
    held: dict[int, Held] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def make(cls, urls: StoreUrls, rules: RuleSet | None = None) -> Bench:
        migrated(urls.store, urls.keystore)
        bench = cls(open_store(urls.store, urls.keystore), rules or default_rules(), default_school())
        with bench.store.write() as connection:
            row = {"school_id": SCHOOL, "name": "Westgate", "generation": 1, "time_zone": "Europe/London"}
            connection.execute(insert(tables.schools).values(**row, created_ms=0))
            for account, role in ((TECH, "technician"), (DSL, "dsl"), (HEAD, "head")):
                connection.execute(insert(tables.accounts).values(account_row(account, role)))
        return bench

    def detection(self, budget: Budget | None = None) -> Detection:
        """A fresh engine, as after a restart."""
        calendar = Calendar(self.school)
        return Detection(
            self.store, self.rules, school_id=SCHOOL, calendar=calendar, read_events=self.read, budget=budget
        )

    def read(self, _connection: Connection, _school_id: str, numbers: Sequence[int]) -> list[Held]:
        return [self.held[number] for number in numbers]

    def device(self, name: str = "d1", **columns: object) -> int:
        """Adds a device; returns its number. ``columns`` override."""
        row: dict[str, object] = {
            "school_id": SCHOOL, "device_id": device_id(name), "device_group": "ks2-laptops", "status": "active",
            "simulated": False, "hostname": name, "serial": name, "vendor": "V", "model": "M",
            "operating_system": "Debian 12", "platform": "linux", "agent_version": "0.1", "machine_hash": b"",
            "key_storage": "file", "token_id": "t", "enrolled_ms": NOON_MS - 10 * 24 * HOUR_MS,
            "last_contact_ms": NOON_MS,
        }  # fmt: skip
        with self.store.write() as connection:
            result = connection.execute(insert(tables.devices).values({**row, **columns}))
            assert result.inserted_primary_key is not None
            return int(result.inserted_primary_key[0])

    def heard(self, device_no: int, at_ms: int) -> None:
        with self.store.write() as connection:
            connection.execute(
                update(tables.devices)
                .where(tables.devices.c.device_no == device_no)
                .values(last_contact_ms=at_ms)
            )

    def person(self, name: str, kind: str, account_id: str | None = None) -> model.UserRef:
        """Adds somebody to the register; returns how events name them."""
        row = {"school_id": SCHOOL, "pseudonym": pseudonym(name), "kind": kind, "display_name": name}
        with self.store.write() as connection:
            connection.execute(insert(tables.people).values(**row, account_name=name, account_id=account_id))
        return user(name)

    def store_event(self, device_no: int, event: model.Event, received_ms: int | None = None) -> int:
        """Stores one event; returns its number."""
        received = event.wall_unix_ms if received_ms is None else received_ms
        event_ms = event.wall_unix_ms - (event.skew_ms or 0)
        with self.store.write() as connection:
            row = {"school_id": SCHOOL, "device_no": device_no, "blob_no": 1, "position": 0, "severity": 1}
            kind = kind_number(event.body.KIND)
            result = connection.execute(insert(tables.events).values(**row, kind=kind, event_ms=event_ms))
            assert result.inserted_primary_key is not None
            number = int(result.inserted_primary_key[0])
        self.held[number] = Held(
            event_no=number,
            device_no=device_no,
            event_ms=event_ms,
            received_ms=received,
            leaf_index=number,
            epoch=b"e" * 16,
            event=event,
        )
        return number

    def event(
        self,
        device_no: int,
        body: model.Body,
        *,
        at_ms: int = NOON_MS,
        who: model.UserRef | None = None,
        received_ms: int | None = None,
        place: model.Place = model.Place.ON_SITE,
    ) -> int:
        """Makes and stores an event with a UUID that follows from its place in the test."""
        self.count += 1
        made = make_event(body, number=self.count, at_ms=at_ms, who=who, place=place)
        return self.store_event(device_no, made, received_ms)

    def fact(self, device_no: int | None, kind: str, at_ms: int = NOON_MS, **fields: object) -> None:
        with self.store.write() as connection:
            row = {"school_id": SCHOOL, "device_no": device_no, "kind": kind, "at_ms": at_ms}
            connection.execute(insert(tables.collector_facts).values(**row, fields=json.dumps(fields)))

    def run(self, now_ms: int = NOON_MS, budget: Budget | None = None) -> None:
        """Steps until nothing is left."""
        detection = self.detection(budget)
        for _ in range(10_000):
            with self.store.write() as connection:
                if not detection.step(connection, now_ms):
                    return
        raise AssertionError("detection never comes to an end")

    def rows(self, table: str) -> list[dict[str, object]]:
        """All rows of a table, in the order of its key."""
        of = tables.SCHEMA.tables[table]
        with self.store.read() as connection:
            query = select(of).order_by(*of.primary_key.columns)
            return [dict(row) for row in connection.execute(query).mappings()]

    def number_of(self, table: str) -> int:
        with self.store.read() as connection:
            return int(
                connection.execute(select(func.count()).select_from(tables.SCHEMA.tables[table])).scalar_one()
            )


def make_event(
    body: model.Body,
    *,
    number: int,
    at_ms: int = NOON_MS,
    who: model.UserRef | None = None,
    place: model.Place = model.Place.ON_SITE,
) -> model.Event:
    return model.Event(
        id=model.EventId(hashlib.sha256(number.to_bytes(8, "big")).digest()[:16]),
        wall_unix_ms=at_ms,
        monotonic_ms=number,
        boot_id=b"b" * 16,
        body=body,
        place=place,
        user=who or model.UserRef(kind=model.UserKind.NONE),
    )


def account_row(account: str, role: str, email: str | None = None) -> dict[str, object]:
    return {
        "account_id": account,
        "school_id": SCHOOL,
        "login": account,
        "display_name": account.title(),
        "role": role,
        "email": f"{account}@school.example" if email is None else email,
        "password_hash": "x",
        "totp_secret": b"",
        "created_ms": 0,
    }


def device_id(name: str) -> bytes:
    return hashlib.sha256(b"device" + name.encode()).digest()[:16]


def pseudonym(name: str) -> bytes:
    return hashlib.sha256(b"person" + name.encode()).digest()[:16]


def user(name: str, kind: model.UserKind = model.UserKind.PERSON) -> model.UserRef:
    return model.UserRef(pseudonym=pseudonym(name), kind=kind)


def refused(
    rule_id: str = "bypass.tor", decision: model.DecisionKind = model.DecisionKind.BLOCK
) -> model.Body:
    """A program that a rule refused."""
    return model.ApplicationRefused(
        application=model.Application(path="/home/x/tor-browser/Browser/firefox", identity="Tor Browser"),
        rule=model.RuleRef(rule_id=rule_id, decision=decision, enforced=True),
    )
