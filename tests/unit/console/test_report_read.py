"""Whoever wrote a report is told that it was read: once, only where its words were shown, and not by whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import select, update

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.pages.report_read import tell_writers
from schoolkeeper_collector.devices.orders import commands_of
from schoolkeeper_collector.incidents.model import AlertDetail, ReportedWords
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.store.tables import commands, devices, ledger_queue
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode
from support.rollouts import add_device
from support.school import DAY_MS, School

DEVICE = b"\x01" * 16


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "school")
    with made.store.write() as connection:
        add_device(connection, made, DEVICE, "laptop-1", last_contact_ms=None)
    yield made
    made.close()


def words(reference: str, text: str | None = "Please talk to me.") -> ReportedWords:
    return ReportedWords(
        event_no=7, recipient="dsl", category="worried", urgent=False, reference=reference, text=text
    )


def look(school: School, *reported: ReportedWords, signs: bool = True) -> None:
    """What the page of an alert does."""
    detail = SimpleNamespace(
        reported=reported, summary=SimpleNamespace(device=SimpleNamespace(device_id=DEVICE, device_no=1))
    )
    options = SimpleNamespace(
        school_id=school.school_id, lesson_signer=school.keys.command if signs else None
    )
    call = SimpleNamespace(
        console=SimpleNamespace(store=school.store, options=options), now_ms=school.now_ms()
    )
    tell_writers(cast(Call, call), cast(AlertDetail, detail))


def orders(school: School) -> list[wire.CommandStatement]:
    found = DirectiveSource(school.store, school.school_id).poll(school.now_ms()).commands
    return [decode(wire.CommandStatement, one.command.statement) for one in found]


def test_the_first_look_tells_the_device_and_no_later_one(school: School) -> None:
    for _ in range(3):
        look(school, words("4F2A1C77"))
    (statement,) = orders(school)
    assert statement.device_id == DEVICE
    assert isinstance(statement.order, wire.ReportRead)
    assert statement.order.reference == "4F2A1C77"
    assert statement.expires_unix_ms - statement.order.read_unix_ms == 14 * DAY_MS
    with school.store.read() as connection:
        assert commands_of(connection, school.school_id, DEVICE, school.now_ms()) == [], (
            "no technician sees it"
        )
        assert connection.execute(select(commands.c.created_by)).scalars().all() == ["collector"]
        queued = connection.execute(select(ledger_queue.c.entry)).scalars().all()
    said = [bytes(one) for one in queued if b"report-read" in bytes(one)]
    assert len(said) == 1
    assert DEVICE.hex().encode() not in said[0]


def test_what_was_not_shown_was_not_read(school: School) -> None:
    look(school, words("4F2A1C77", text=None), words(""))
    assert orders(school) == []
    look(school, words("4F2A1C77"), signs=False)
    assert orders(school) == []


def test_a_device_that_is_not_in_use_any_more_is_told_nothing_and_the_page_is_shown(school: School) -> None:
    with school.store.write() as connection:
        connection.execute(update(devices).values(status="revoked"))
    look(school, words("4F2A1C77"))
    assert orders(school) == []
