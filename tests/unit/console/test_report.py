"""A member of staff reports something: for whom it is, and that whoever wrote it sees 'sent' or 'read' and no more."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from support.console import Bench, post, text_of

WORDS = "A parent wrote to my own telephone at night."
GIVEN = {"about": "parent", "kind": "contact", "when": "Sunday, about 23:00", "text": WORDS}


def send(bench: Bench, **fields: str) -> str:
    answer = post(bench.signed_in(Role.STAFF), "/report", None, **(GIVEN | fields))
    assert answer.status_code == 303, text_of(answer.text)
    return str(answer.headers["location"])


@pytest.mark.requirement("W-44")
def test_the_writer_gets_a_number_and_sees_later_only_that_it_was_read(bench: Bench) -> None:
    assert send(bench) == "/report?number=1"
    staff = bench.signed_in(Role.STAFF)
    page = staff.get("/report?number=1").text
    assert "Sent. Your receipt is number 1." in text_of(page)
    assert "sent, not read yet" in text_of(page)
    assert WORDS not in page
    dsl = bench.signed_in(Role.DSL)
    dsl.get("/incidents")
    assert "not read yet" in text_of(staff.get("/report").text), "a list is no reading"
    with bench.store.read() as connection:
        row = connection.execute(select(tables.incidents)).one()
        of_login = select(tables.accounts.c.account_id).where(tables.accounts.c.login == "staff")
        writer = connection.execute(of_login).scalar_one()
        logged = list(connection.execute(select(tables.access_log.c.action, tables.access_log.c.account_id)))
    assert (row.raised_by, row.audience, row.category) == (
        writer,
        "dsl",
        "contact",
    )
    assert ("incident.reported", writer) in {tuple(one) for one in logged}
    item = f"/incidents/{row.incident_id.hex()}"
    assert WORDS in dsl.get(item).text
    page = text_of(staff.get("/report").text)
    assert ": read" in page
    assert "not read yet" not in page
    for path in (item, "/incidents", "/incidents/new"):
        assert staff.get(path).status_code == 403, path


def test_another_member_of_staff_sees_no_receipt_of_it(bench: Bench) -> None:
    send(bench)
    with bench.store.write() as connection:
        connection.execute(update(tables.incidents).values(raised_by="somebody-else"))
    page = text_of(bench.signed_in(Role.STAFF).get("/report?number=1").text)
    assert "Nothing yet." in page
    assert "Sent." not in page


@pytest.mark.requirement("W-44")
@pytest.mark.parametrize(
    ("about", "reads"),
    [
        ("pupil", Role.DSL),
        ("parent", Role.DSL),
        ("colleague", Role.HEAD),
        ("head", Role.CHAIR),
        ("other", Role.DSL),
    ],
)
def test_whom_it_is_about_decides_who_reads_it_and_nobody_else_does(
    bench: Bench, about: str, reads: Role
) -> None:
    send(bench, about=about)
    for role in (Role.DSL, Role.HEAD, Role.CHAIR):
        listed = "Reported by a member of staff" in bench.signed_in(role).get("/incidents").text
        assert listed == (role is reads), role


def test_about_the_head_without_a_chair_nothing_is_sent_and_it_says_where_to_go(bench: Bench) -> None:
    with bench.store.write() as connection:
        connection.execute(
            update(tables.accounts).where(tables.accounts.c.role == "chair").values(disabled_ms=1)
        )
    answer = post(bench.signed_in(Role.STAFF), "/report", None, **(GIVEN | {"about": "head"}))
    assert answer.status_code == 422
    assert "Nothing was sent" in text_of(answer.text)
    assert WORDS in answer.text, "what was written is not lost"
    with bench.store.read() as connection:
        assert connection.execute(select(tables.incidents)).all() == []


@pytest.mark.parametrize("missing", ["about", "kind", "when", "text"])
def test_what_is_missing_is_said_and_nothing_is_sent(bench: Bench, missing: str) -> None:
    answer = post(bench.signed_in(Role.STAFF), "/report", None, **(GIVEN | {missing: " "}))
    assert answer.status_code == 422
    assert f'href="#{missing}"' in answer.text
    with bench.store.read() as connection:
        assert connection.execute(select(tables.incidents)).all() == []


def test_999_and_who_reads_it_stand_before_the_words(bench: Bench) -> None:
    page = bench.signed_in(Role.STAFF).get("/report").text
    places = [page.index(part) for part in ("999, not this form", 'name="about"', 'name="text"')]
    assert places == sorted(places)
    assert "<script>" not in page
