"""What no device can see is recorded by hand: of the school's own lines, for whom it is, and read by nobody else."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_policies.matrices import manual_incident_types
from schoolkeeper_policies.parse import load_pack
from support.console import SCHOOL, Bench, new_bench, post, text_of

LESSON = "Mobile phones used in lessons"
GROOMING = "Grooming, inciting, arranging or facilitating sexual acts against children"
WORDS = "At 10:05 in room 3, seen by Ms Price."


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    (folder / "policy").mkdir(parents=True)
    (folder / "policy" / "current").write_text("shipped tai-education-centre\n")
    return folder


@pytest.fixture
def school(store: Store, state: Path) -> Bench:
    with store.write() as connection:
        for number, (name, kind) in enumerate((("rowan", "pupil"), ("price", "staff")), 1):
            row = {"pseudonym": bytes([number]) * 16, "kind": kind, "display_name": name.title()}
            connection.execute(
                insert(tables.people).values(
                    school_id=SCHOOL, account_name=name, account_id=None, left_ms=None, **row
                )
            )
    return new_bench(store, state_dir=state)


def record(school: Bench, role: Role, type_: str, **fields: str) -> str:
    sent = {"type": type_, "text": WORDS} | fields
    answer = post(school.signed_in(role), "/incidents/seen", None, **sent)
    assert answer.status_code == 303, text_of(answer.text)
    return str(answer.headers["location"])


def test_the_form_offers_the_lines_of_the_schools_tables_that_no_device_sees(school: Bench) -> None:
    page = school.signed_in(Role.DSL).get("/incidents/seen").text
    offered = [html.unescape(text) for text in re.findall(r"<option value=\"[^\"]+\">([^<]+)", page)]
    assert f"{LESSON} (pupils; T-C02)" in offered
    assert f"{GROOMING} (everybody; T-U02)" in offered
    assert len(offered) == len(manual_incident_types(load_pack("tai-education-centre")))
    assert len(offered) >= 20
    assert "<script>" not in page
    assert "style=" not in page


def test_it_goes_into_the_log_with_its_line_and_the_schools_words(school: Bench) -> None:
    place = record(school, Role.DSL, "T-C02.pupils")
    client = school.signed_in(Role.DSL)
    page = html.unescape(text_of(client.get(place).text))
    assert LESSON in page
    assert "a pupil who is not named" in page
    assert f"By hand. T-C02 of the school's table: '{LESSON}', pupils: not acceptable." in page
    assert WORDS in page
    assert "by hand" in text_of(client.get("/incidents").text)
    with school.store.read() as connection:
        looked = connection.execute(
            select(tables.access_log.c.action).order_by(tables.access_log.c.access_no.desc()).limit(2)
        ).scalars()
        assert set(looked) == {"incidents.listed", "incident.read"}
        row = connection.execute(select(tables.incidents)).one()
    assert (row.category, row.severity, row.subject) == ("phone-or-camera", 2, "school")


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("T-C02.staff", {}),
        ("T-C02.staff", {"about": "pupil"}),
        ("T-U02.everybody", {"about": "staff"}),
        ("T-U02.everybody", {"account": "price"}),
        ("T-C02.pupils", {"account": "price"}),
    ],
)
def test_what_is_about_staff_goes_to_the_head_and_not_to_the_dsl(
    school: Bench, type_: str, fields: dict[str, str]
) -> None:
    place = record(school, Role.DSL, type_, **fields)
    assert place == "/incidents/recorded?number=1"
    activity = LESSON if type_.startswith("T-C02") else GROOMING
    assert activity not in school.signed_in(Role.DSL).get("/incidents").text
    assert activity in school.signed_in(Role.HEAD).get("/incidents").text


def test_a_technician_records_it_and_reads_none(school: Bench) -> None:
    assert record(school, Role.TECHNICIAN, "T-C02.pupils", account="rowan") == "/incidents/recorded?number=1"
    assert school.signed_in(Role.TECHNICIAN).get("/incidents").status_code == 403
    page = text_of(school.signed_in(Role.DSL).get("/incidents").text)
    assert "Rowan" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": ""}, "Choose what was seen."),
        ({"type": "T-X99.pupils"}, "Choose what was seen."),
        ({"text": " "}, "Say what was seen, when and where."),
        ({"account": "nobody"}, "The register knows no such account."),
        ({"account": "rowan", "about": "staff"}, "does not know this account as one of staff"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_lost(
    school: Bench, fields: dict[str, str], said: str
) -> None:
    given = {"type": "T-C02.pupils", "text": WORDS} | fields
    answer = post(school.signed_in(Role.DSL), "/incidents/seen", None, **given)
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert given["text"].strip() in answer.text
    with school.store.read() as connection:
        assert connection.execute(select(tables.incidents)).all() == []


def test_another_pack_brings_its_own_lines(school: Bench, state: Path) -> None:
    client = school.signed_in(Role.DSL)
    assert LESSON in client.get("/incidents/seen").text
    (state / "policy" / "current").write_text("shipped westgate-primary\n")
    page = client.get("/incidents/seen").text
    assert LESSON not in page
    assert "W-R15" in page
    (state / "policy" / "current").write_text("shipped default\n")
    assert "The policy in force has no such line." in client.get("/incidents/seen").text
    (state / "policy" / "current").write_text("copied gone\n")
    answer = client.get("/incidents/seen")
    assert answer.status_code == 422
    assert "restore" in answer.text
