"""What another system told is kept by source, replaced whole, and gets old."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_collector.devices.inventory import (
    DAY_MS,
    STALE_DAYS,
    Inventory,
    InventoryError,
    Told,
    ToldDevice,
    load_inventory,
    remove_source,
    store_inventory,
)
from schoolkeeper_collector.store.database import Store
from support.console import SCHOOL, new_store

NOW = 1_795_428_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


def told(
    serial: str, *, key: str = "", last_sync_ms: int | None = None, encryption: Told = Told.YES
) -> ToldDevice:
    return ToldDevice(
        key=key or serial.casefold(),
        serial=serial,
        name=f"pad-{serial}",
        operating_system="iPadOS 18",
        last_sync_ms=last_sync_ms,
        encryption=encryption,
        compliance="Compliant",
    )


def put(store: Store, source: str, *devices: ToldDevice, told_ms: int = NOW) -> tuple[int, int, int]:
    with store.write() as connection:
        done = store_inventory(
            connection, SCHOOL, source, devices, told_ms=told_ms, now_ms=NOW, actor="technician"
        )
    return done.added, done.changed, done.gone


def load(store: Store, now_ms: int = NOW) -> Inventory:
    with store.read() as connection:
        return load_inventory(connection, SCHOOL, now_ms, STALE_DAYS)


def test_a_source_is_made_equal_to_its_file_and_others_stay(store: Store) -> None:
    assert put(store, "Jamf", told("J1")) == (1, 0, 0)
    assert put(store, "Intune", told("S1"), told("S2")) == (2, 0, 0)
    assert put(store, "Intune", told("S1", encryption=Told.NO), told("S3"), told_ms=NOW + 1) == (1, 1, 1)
    assert [(tale.source, tale.device.serial) for tale in load(store).tales] == [
        ("Jamf", "J1"),
        ("Intune", "S1"),
        ("Intune", "S3"),
    ]
    assert {source.name: source.devices for source in load(store).sources} == {"Intune": 2, "Jamf": 1}


def test_an_older_file_does_not_replace_a_newer_one(store: Store) -> None:
    put(store, "Intune", told("S1"))
    with pytest.raises(InventoryError, match="later than this file"):
        put(store, "Intune", told("S2"), told_ms=NOW - 1)
    assert [tale.device.serial for tale in load(store).tales] == ["S1"]


def test_old_is_what_was_told_long_ago_and_what_the_source_has_not_heard_of(store: Store) -> None:
    long_ago = NOW - (STALE_DAYS + 1) * DAY_MS
    put(store, "Intune", told("new", last_sync_ms=NOW), told("old", last_sync_ms=long_ago), told("never"))
    assert {tale.device.serial: tale.stale for tale in load(store).tales} == {
        "new": False,
        "old": True,
        "never": False,
    }
    later = NOW + (STALE_DAYS + 1) * DAY_MS
    assert all(tale.stale for tale in load(store, later).tales), "the export itself is old"
    assert all(source.stale(later, STALE_DAYS) for source in load(store, later).sources)


def test_a_source_can_be_forgotten(store: Store) -> None:
    put(store, "Intune", told("S1"))
    with store.write() as connection:
        assert remove_source(connection, SCHOOL, "Intune")
        assert not remove_source(connection, SCHOOL, "Intune")
    assert load(store) == Inventory()
