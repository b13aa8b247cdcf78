"""The Store seam on both engines: what the rest of the collector relies on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select

from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, StoreUrlError, open_store
from schoolkeeper_collector.store.keystore import WEEK_MS
from schoolkeeper_collector.store.migrate import SchemaError, check_schema, migrate
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode
from support.stores import ENGINES, StoreUrls

SCHOOL = "school-1"


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUrls:
    return StoreUrls.of(request.param, tmp_path, request)


@pytest.fixture
def store(urls: StoreUrls) -> Iterator[Store]:
    migrate(urls.store, urls.keystore)
    store = open_store(urls.store, urls.keystore)
    yield store
    store.close()


def test_models_equal_migrations(store: Store) -> None:
    for engine, metadata in ((store.engine, tables.SCHEMA), (store.keystore.engine, tables.KEYSTORE)):
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []


def test_migrating_twice_changes_nothing(urls: StoreUrls, store: Store) -> None:
    migrate(urls.store, urls.keystore)
    check_schema(store)


def test_an_unmigrated_store_is_refused_with_the_remedy(urls: StoreUrls) -> None:
    store = open_store(urls.store, urls.keystore)
    with pytest.raises(SchemaError, match="schoolkeeper-collector migrate"):
        check_schema(store)
    store.close()


def _add_school(store: Store, name: str) -> None:
    with store.write() as connection:
        row = {
            "school_id": name,
            "name": name,
            "generation": 1,
            "time_zone": "Europe/London",
            "created_ms": 1,
        }
        connection.execute(insert(tables.schools).values(row))


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    def half_done() -> None:
        with store.write() as connection:
            row = {"school_id": "x", "name": "x", "generation": 1, "time_zone": "UTC", "created_ms": 1}
            connection.execute(insert(tables.schools).values(row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    with store.read() as connection:
        assert connection.execute(select(tables.schools)).all() == []


def test_a_read_sees_one_moment(store: Store) -> None:
    _add_school(store, "a")
    with store.read() as connection:
        assert len(connection.execute(select(tables.schools)).all()) == 1
        _add_school(store, "b")
        assert len(connection.execute(select(tables.schools)).all()) == 1
    with store.read() as connection:
        assert len(connection.execute(select(tables.schools)).all()) == 2


def test_a_read_writes_nothing(store: Store) -> None:
    with store.read() as connection:
        row = {"school_id": "x", "name": "x", "generation": 1, "time_zone": "UTC", "created_ms": 1}
        connection.execute(insert(tables.schools).values(row))
    with store.read() as connection:
        assert connection.execute(select(tables.schools)).all() == []


def test_writers_that_read_first_do_not_overtake_each_other(store: Store) -> None:
    """Ten threads raise one number by one, each by reading and then writing: nothing is lost."""
    _add_school(store, SCHOOL)

    def raise_by_one() -> None:
        for _ in range(5):
            with store.write() as connection:
                held = connection.execute(select(tables.schools.c.generation)).scalar_one()
                connection.execute(tables.schools.update().values(generation=held + 1))

    threads = [threading.Thread(target=raise_by_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert connection.execute(select(tables.schools.c.generation)).scalar_one() == 1 + 4 * 5


def test_a_weeks_key_is_one_and_the_next_weeks_another(store: Store) -> None:
    keystore = store.keystore
    first = keystore.current_key(SCHOOL, "raw", 10)
    assert keystore.current_key(SCHOOL, "raw", WEEK_MS - 1) == first
    assert keystore.current_key(SCHOOL, "raw", WEEK_MS) != first
    assert keystore.current_key(SCHOOL, "safeguarding", 10) != first
    assert keystore.key(first[0]) == first[1]
    keystore.erase_key(first[0])
    assert keystore.key(first[0]) is None


def test_an_access_is_one_row_and_one_queued_audit_statement(store: Store) -> None:
    with store.write() as connection:
        record_access(
            connection,
            school_id=SCHOOL,
            account_id="a-1",
            action="alert.read",
            object_type="alert",
            object_id=b"\x01" * 16,
            reason="asked by the head",
            now_ms=5,
        )
    with store.read() as connection:
        row = connection.execute(select(tables.access_log)).one()
        queued = connection.execute(select(tables.ledger_queue)).one()
    assert row.queue_no == queued.queue_no
    entry = decode(wire.LedgerEntry, queued.entry)
    statement = decode(wire.AuditStatement, entry.statement)
    assert statement.action == "alert.read"
    assert b"asked by the head" not in queued.entry


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense"])
def test_an_unusable_url_is_refused_with_what_would_work(url: str) -> None:
    with pytest.raises(StoreUrlError, match="sqlite:////absolute"):
        open_store(url, url)
