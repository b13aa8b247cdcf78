"""The page on which staff open a lesson: what it offers, refuses, says and writes down."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode
from support.console import Bench, Clock, new_bench, post, text_of
from support.school import DAY_MS, School

BOUND = """grants:
  - kind: lesson
    rules: [bypass.vpn]
    max_minutes: 60
    duties: [staff]
    console:
      - {days: [monday, tuesday, wednesday, thursday, friday], from: "08:30", to: "15:30"}
  - {kind: lesson, rules: [bypass.tor], max_minutes: 60, duties: [staff]}
"""
MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=ZoneInfo("Europe/London"))
MONDAY_MS = round(MONDAY.timestamp() * 1000)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("lessons")
    pack = folder / "our-pack"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    (pack / "lessons.yaml").write_text(BOUND)
    made = School(folder / "school", made_ms=MONDAY_MS - 2 * DAY_MS, pack=str(pack))
    yield made
    made.close()


@pytest.fixture(scope="module")
def bench(school: School) -> Bench:
    return new_bench(
        school.store, Clock(MONDAY_MS), state_dir=school.folder, lesson_signer=school.keys.command
    )


@pytest.fixture(autouse=True)
def ten_o_clock(bench: Bench) -> None:
    """Each test has a Monday of its own, so that codes are fresh and no lesson of another is open."""
    weeks = (bench.clock.now_ms - MONDAY_MS) // (7 * DAY_MS) + 1
    bench.clock.now_ms = MONDAY_MS + weeks * 7 * DAY_MS


def offer(page: str) -> str:
    """The one for the pupils' group."""
    found = re.search(r'value="([0-9a-f]{16})"', page)
    assert found, text_of(page)
    return found[1]


def statements(bench: Bench) -> list[wire.GrantStatement]:
    with bench.store.read() as connection:
        rows = connection.execute(select(tables.grants.c.grant_bytes).order_by(tables.grants.c.created_ms))
        return [decode(wire.GrantStatement, decode(wire.Grant, bytes(row[0])).statement) for row in rows]


def test_a_teacher_opens_what_the_policy_names_and_ends_it(bench: Bench) -> None:
    client = bench.signed_in(Role.STAFF)
    assert client.get("/").headers["location"] == "/lessons"
    page = client.get("/lessons").text
    assert "60 minutes at most, Mon, Tue, Wed, Thu, Fri 08:30–15:30" in text_of(page)
    assert "bypass.tor" not in page
    assert "Tor Browser" not in page, "that one, officers sign"
    answer = post(client, "/lessons", offer=offer(page), until="10:45", why="Year 4, rivers.")
    assert answer.status_code == 303, text_of(answer.text)
    said = text_of(client.get("/lessons").text)
    assert "open until 10:45" in said
    assert "Opened by Staff: Year 4, rivers." in said
    assert "0 devices say that it is open there" in said
    (lesson,) = statements(bench)
    assert (lesson.rule_ids, lesson.groups) == (("bypass.vpn",), ("ks2-laptops",))
    with bench.store.read() as connection:
        rows = connection.execute(
            select(
                tables.access_log.c.action, tables.access_log.c.reason, tables.access_log.c.account_id
            ).where(tables.access_log.c.object_id == lesson.grant_id)
        ).all()
    account = bench.accounts[Role.STAFF].account.account_id
    assert [tuple(row) for row in rows] == [("lesson.opened", "ks2-laptops: Year 4, rivers.", account)]
    bench.clock.now_ms += 1_000
    assert post(client, f"/lessons/{lesson.grant_id.hex()}/end").status_code == 303
    assert "No lesson is open." in client.get("/lessons").text
    assert post(client, f"/lessons/{lesson.grant_id.hex()}/end").status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"offer": "0" * 16}, "Choose what to open"),
        ({"why": "  "}, "Say what it is for"),
        ({"until": "soon"}, "Write the time like 10:45"),
        ({"from": "25:00"}, "Write the time like 10:45"),
        ({"until": "10:00"}, "later than it begins"),
        ({"from": "11:00", "until": "10:30"}, "later than it begins"),
        ({"until": "11:30"}, "allows 60 minutes at a time"),
        ({"until": "00:00"}, "allows 60 minutes at a time"),
        ({"from": "15:00", "until": "15:45"}, "not opened on the console at these hours"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_opened(
    bench: Bench, fields: dict[str, str], said: str
) -> None:
    client = bench.signed_in(Role.DSL)
    before = len(statements(bench))
    key = offer(client.get("/lessons").text)
    answer = post(client, "/lessons", **({"offer": key, "until": "10:45", "why": "Rivers."} | fields))
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert len(statements(bench)) == before


def test_a_technician_and_a_chair_open_nothing(bench: Bench) -> None:
    for role in (Role.TECHNICIAN, Role.CHAIR):
        assert bench.signed_in(role).get("/lessons").status_code == 403


def test_a_teacher_reads_nothing_else(bench: Bench) -> None:
    client = bench.signed_in(Role.STAFF)
    for path in (
        "/queue",
        "/incidents",
        "/alerts/" + "ab" * 16,
        "/devices",
        "/requests",
        "/changes",
        "/collector",
    ):
        assert client.get(path).status_code == 403, path
    assert client.get("/notices").status_code == 200


def test_without_a_policy_that_names_anything_the_page_says_who_helps(store: Store) -> None:
    page = new_bench(store, Clock(MONDAY_MS)).signed_in(Role.HEAD).get("/lessons")
    assert page.status_code == 200
    assert "Ask the technician" in page.text
