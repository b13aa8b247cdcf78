"""Stored events for a policy to be tried against: real blobs, as ingest leaves them."""

from __future__ import annotations

from sqlalchemy import insert

from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.blobs import BlobContext, Record, pack_records, seal
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode, kind_number
from schoolkeeper_proto.wire import Lane
from support.school import GROUP, School, wall_ms

HOUR_MS = 3_600_000
PLACE = model.Place.ON_SITE


def event(body: model.Body, at_ms: int, number: int) -> model.Event:
    return model.Event(
        id=model.EventId(number.to_bytes(16, "big")),
        wall_unix_ms=at_ms,
        monotonic_ms=0,
        boot_id=b"b" * 16,
        body=body,
        place=PLACE,
        user=model.UserRef(pseudonym=b"p" * 16, kind=model.UserKind.PERSON),
    )


def store_events(school: School, name: bytes, bodies: list[tuple[model.Body, int]]) -> None:
    """A device and one blob of events, as ingest leaves them."""
    keystore = school.store.keystore
    key_id, key = keystore.current_key(school.school_id, "events", wall_ms())
    records = [
        Record(
            lane=Lane.NORMAL,
            sequence=number,
            salt=bytes(16),
            event=encode(event(body, at_ms, number)),
            commitment=b"",
        )
        for number, (body, at_ms) in enumerate(bodies)
    ]
    with school.store.write() as connection:
        row = {
            "school_id": school.school_id, "device_id": name * 16, "device_group": GROUP, "status": "active",
            "simulated": False, "hostname": "h", "serial": "s", "vendor": "V", "model": "M",
            "operating_system": "Debian 12", "platform": "linux", "agent_version": "0", "machine_hash": b"",
            "key_storage": "file", "token_id": "t", "enrolled_ms": 0,
        }  # fmt: skip
        added = connection.execute(insert(tables.devices).values(row)).inserted_primary_key
        assert added is not None
        device_no = int(added[0])
        context = BlobContext(school.school_id, device_no, 0, "raw")
        data = seal(pack_records(b"e" * 16, records), key, context)
        blob = connection.execute(
            insert(tables.blobs).values(
                school_id=school.school_id, device_no=device_no, leaf_index=0, retention="raw", key_id=key_id,
                received_ms=0, data=data,
            )
        ).inserted_primary_key  # fmt: skip
        assert blob is not None
        for position, (body, at_ms) in enumerate(bodies):
            connection.execute(
                insert(tables.events).values(
                    school_id=school.school_id, device_no=device_no, blob_no=int(blob[0]), position=position,
                    kind=kind_number(body.KIND), event_ms=at_ms, severity=1,
                )
            )  # fmt: skip


def start(path: str) -> model.ApplicationStarted:
    return model.ApplicationStarted(application=model.Application(path=path))


def filled(school: School) -> int:
    """Two devices; the older hour's aggregate is told twice. Returns the hour."""
    # At night: an hour in which a school's rules change is counted otherwise.
    hour = (wall_ms() // (24 * HOUR_MS) - 1) * 24 * HOUR_MS + 2 * HOUR_MS
    aggregate = b"a" * 16
    mine = model.Application(path="/usr/games/minefield")

    def used(starts: int) -> model.ApplicationUsage:
        return model.ApplicationUsage(
            aggregate_id=aggregate,
            application=mine,
            hour_start_unix_ms=hour,
            starts=starts,
            first_start_unix_ms=hour + 60_000,
        )

    one: list[tuple[model.Body, int]] = [
        (used(2), hour + HOUR_MS),
        (used(5), hour + HOUR_MS + 1),
        (start("/usr/bin/gedit"), hour),
    ]
    store_events(school, b"1", one)
    medium = model.MediumAttached(medium=model.Medium(kernel_name="sda", serial="S"))
    store_events(
        school, b"2", [(start("/usr/games/minefield"), hour + 5), (medium, hour), (model.Heartbeat(), hour)]
    )
    return hour
