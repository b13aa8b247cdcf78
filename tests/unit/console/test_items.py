"""Alerts and incidents as each role meets them: whose they are, verdicts and notes, and that every read is logged."""

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from support.alerts import DSL_SELF, PUPIL, STAFF, add_alert, add_person
from support.console import Bench, post, text_of

HELP = "Somebody asks for help"
TOR = "Tor Browser was refused"
COPIED = "Files were copied to a USB stick"
OWN = "A program of the DSL was refused"
SILENT = "A laptop is silent"


@pytest.fixture
def alerts(bench: Bench) -> dict[str, str]:
    """One alert per kind of audience and subject: title -> id in hex."""
    now = bench.clock.now_ms
    dsl = bench.accounts[Role.DSL].account.account_id
    with bench.store.write() as connection:
        add_person(connection, PUPIL, "pupil", "Rowan P.")
        add_person(connection, STAFF, "staff", "Jay Doe")
        add_person(connection, DSL_SELF, "staff", "Ada Lee", dsl)
        made = {
            HELP: add_alert(connection, HELP, at_ms=now - 60_000, severity="critical"),
            TOR: add_alert(
                connection, TOR, at_ms=now - 3_600_000, severity="medium", rule_id="bypass.started"
            ),
            COPIED: add_alert(connection, COPIED, at_ms=now, subject=STAFF, kind="staff", audience="head"),
            # Sent to the DSL although it is about the DSL: the second fence must hold by itself.
            OWN: add_alert(connection, OWN, at_ms=now, subject=DSL_SELF, kind="staff", audience="dsl"),
            SILENT: add_alert(
                connection,
                SILENT,
                at_ms=now,
                kind="device",
                audience="technician",
                severity="low",
                rule_id="device.silent",
            ),
        }
    return {title: alert_id.hex() for title, alert_id in made.items()}


def accesses(bench: Bench) -> list[tuple[str, str, str]]:
    log = tables.access_log
    with bench.store.read() as connection:
        rows = connection.execute(select(log).order_by(log.c.access_no)).all()
    return [(row.account_id, row.object_type, bytes(row.object_id).hex()) for row in rows]


def everything(client: TestClient, alerts: dict[str, str]) -> str:
    """All that a role can be shown by any route."""
    places = ["/", "/queue", "/incidents", "/devices", "/collector", "/incidents/new", "/incidents/recorded"]
    places += [f"/alerts/{item}" for item in alerts.values()] + [
        f"/incidents/{item}" for item in alerts.values()
    ]
    return " ".join(client.get(place).text for place in places)


@pytest.mark.parametrize(
    ("role", "seen", "hidden"),
    [
        (Role.DSL, {HELP, TOR}, {COPIED, OWN, SILENT, "Jay Doe", "Ada Lee"}),
        (Role.HEAD, {COPIED}, {HELP, TOR, OWN, SILENT, "Rowan"}),
        (Role.TECHNICIAN, {SILENT}, {HELP, TOR, COPIED, OWN, "Rowan", "Jay Doe"}),
    ],
)
def test_each_role_sees_its_own_items_by_every_route_and_no_other(
    bench: Bench, alerts: dict[str, str], role: Role, seen: set[str], hidden: set[str]
) -> None:
    client = bench.signed_in(role)
    shown = everything(client, alerts)
    for title in seen:
        assert title in shown
        assert client.get(f"/alerts/{alerts[title]}").status_code == 200
    for title in hidden:
        assert title not in shown
        if title in alerts:
            assert client.get(f"/alerts/{alerts[title]}").status_code == 404


def test_what_is_not_there_and_what_is_not_for_you_are_the_same_page(
    bench: Bench, alerts: dict[str, str]
) -> None:
    client = bench.signed_in(Role.DSL)
    missing = client.get("/alerts/" + "ab" * 16)
    for title in (COPIED, OWN, SILENT):
        hidden = client.get(f"/alerts/{alerts[title]}")
        assert (hidden.status_code, hidden.text) == (
            missing.status_code,
            missing.text.replace("ab" * 16, alerts[title]),
        )
        for act in ("verdict", "undo", "notes"):
            assert (
                post(client, f"/alerts/{alerts[title]}/{act}", verdict="watch", note="x").status_code == 404
            )


def test_nothing_about_oneself_is_counted_or_heard_of_live(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    before = client.get("/queue").text
    with bench.store.write() as connection:
        connection.execute(
            update(tables.alerts)
            .where(tables.alerts.c.title.in_([OWN, COPIED]))
            .values(updated_ms=bench.clock.now_ms + 5, severity=5)
        )
    assert client.get("/queue").text == before


def test_every_read_is_in_the_log_and_a_refused_one_is_no_read(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    account = bench.accounts[Role.DSL].account.account_id
    before = len(accesses(bench))
    client.get(f"/alerts/{alerts[TOR]}")
    client.get(f"/alerts/{alerts[COPIED]}")
    read = accesses(bench)[before:]
    assert (account, "alert", alerts[TOR]) in read
    assert not [row for row in read if row[2] == alerts[COPIED]]
    before = len(accesses(bench))
    for place in ("/", "/queue", "/incidents"):
        client.get(place)
        after = len(accesses(bench))
        assert after > before, f"{place} shows safeguarding data and was not logged"
        before = after
    with bench.store.read() as connection:
        unqueued = (
            select(func.count()).select_from(tables.access_log).where(tables.access_log.c.queue_no.is_(None))
        )
        assert connection.execute(unqueued).scalar_one() == 0


def test_the_queue_puts_the_urgent_first(bench: Bench, alerts: dict[str, str]) -> None:
    page = text_of(bench.signed_in(Role.DSL).get("/").text)
    assert page.index("Needs you now 1") < page.index(HELP) < page.index("Today 1") < page.index(TOR)
    assert "nobody has looked yet" in page


def test_an_alert_says_what_is_known_unknown_why_and_proof(bench: Bench, alerts: dict[str, str]) -> None:
    page = text_of(bench.signed_in(Role.DSL).get(f"/alerts/{alerts[TOR]}").text)
    for part in (
        "What we know",
        "What we do not know",
        "Why it fired",
        "The school's policy",
        "T-17",
        "Proof",
        "Your verdict",
    ):
        assert part in page
    assert "Whether it was used to reach anything, and what." in page


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("false-positive", "closed"), ("no-concern", "closed"), ("watch", "open"), ("raised", "closed")],
)
def test_a_verdict_and_its_undo(bench: Bench, alerts: dict[str, str], verdict: str, state: str) -> None:
    client = bench.signed_in(Role.DSL)
    place = f"/alerts/{alerts[TOR]}"
    answer = post(client, f"{place}/verdict", verdict=verdict, reason="Talked to the class teacher.")
    assert answer.headers["location"] == f"/?given={alerts[TOR]}&verdict={verdict}"
    page = client.get(answer.headers["location"]).text
    assert "Your verdict:" in page
    assert f'action="{place}/undo"' in page
    detail = text_of(client.get(place).text)
    assert "Talked to the class teacher." in detail
    assert ("Open" if state == "open" else "Closed") in detail
    assert post(client, f"{place}/undo").headers["location"] == place
    assert "Your verdict" in client.get(place).text


def test_undo_ends_after_ten_seconds_and_says_so(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    place = f"/alerts/{alerts[TOR]}"
    post(client, f"{place}/verdict", verdict="no-concern")
    bench.clock.now_ms += 11_000
    answer = post(client, f"{place}/undo")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_raising_makes_an_incident_with_a_file_of_its_own(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    post(client, f"/alerts/{alerts[TOR]}/verdict", verdict="raised", reason="Third time this week.")
    listed = client.get("/incidents").text
    assert TOR in listed
    place = listed.split('href="/incidents/')[2].split('"')[0]
    page = client.get(f"/incidents/{place}")
    assert page.status_code == 200
    assert "Incident 1" in page.text
    assert post(client, f"/incidents/{place}/notes", note="Called home at 15:10.").status_code == 303
    assert "Called home at 15:10." in client.get(f"/incidents/{place}").text
    assert post(client, f"/incidents/{place}/notes", note=" ").status_code == 422
    assert bench.signed_in(Role.HEAD).get(f"/incidents/{place}").status_code == 404


def test_notes_stay_and_an_empty_one_is_refused(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    place = f"/alerts/{alerts[TOR]}"
    assert post(client, f"{place}/notes", note="Seen by <b>me</b>").status_code == 303
    assert "Seen by &lt;b&gt;me&lt;/b&gt;" in client.get(place).text
    refused = post(client, f"{place}/notes", note="  ")
    assert refused.status_code == 422
    assert 'id="note-error"' in refused.text


def test_a_verdict_must_be_one_of_the_four(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    for wrong in ("", "recovered", "delete"):
        answer = post(client, f"/alerts/{alerts[TOR]}/verdict", verdict=wrong)
        assert answer.status_code == 422
        assert "Choose a verdict." in answer.text


def test_what_was_typed_is_still_there_after_a_refusal(bench: Bench, alerts: dict[str, str]) -> None:
    """Whoever forgot the verdict has not lost the reason; text that is too long can be shortened."""
    client = bench.signed_in(Role.DSL)
    place = f"/alerts/{alerts[TOR]}"
    refused = post(client, f"{place}/verdict", reason="Asked Mr <Jones>, who had set it as homework.")
    assert refused.status_code == 422
    assert "Asked Mr &lt;Jones&gt;, who had set it as homework.</textarea>" in refused.text
    long = "word " * 5_000
    refused = post(client, f"{place}/verdict", verdict="no-concern", reason=long)
    assert refused.status_code == 422
    assert f"{long.strip()}" in refused.text
    assert 'value="no-concern" id="verdict-no-concern"' in refused.text
    assert (
        refused.text.count('id="verdict-no-concern" data-key="n" aria-describedby="hint-no-concern" checked>')
        == 1
    )
    refused = post(client, f"{place}/notes", note=long)
    assert refused.status_code == 422
    assert f"{long}</textarea>" in refused.text


@pytest.mark.requirement("W-19")
def test_a_technician_records_an_incident_and_reads_none(bench: Bench) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    fields = {"title": "A phone was found", "text": "In lab 2.", "category": "device", "severity": "low"}
    answer = post(client, "/incidents/new", **fields)
    assert answer.headers["location"] == "/incidents/recorded?number=1"
    assert "It is incident 1" in text_of(client.get(answer.headers["location"]).text)
    assert "A phone was found" not in everything(client, {})
    assert "A phone was found" in bench.signed_in(Role.DSL).get("/").text


def test_an_incident_by_hand_needs_all_its_parts(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    good = {"title": "Phone found", "text": "In lab 2.", "category": "device", "severity": "low"}
    for missing in good:
        answer = post(client, "/incidents/new", **{**good, missing: ""})
        assert answer.status_code == 422
        assert "There is a problem" in answer.text
        kept = [value for name, value in good.items() if name in ("title", "text") and name != missing]
        assert all(value in answer.text for value in kept), "what was typed is still there"
    answer = post(client, "/incidents/new", **good)
    assert answer.headers["location"].startswith("/incidents/")
    assert "Phone found" in client.get(answer.headers["location"]).text


def test_more_than_fit_are_said_to_be_there(bench: Bench) -> None:
    with bench.store.write() as connection:
        for number in range(51):
            add_alert(
                connection,
                f"Number {number}",
                at_ms=bench.clock.now_ms - number,
                subject=number.to_bytes(16, "big"),
                severity="low",
            )
    page = text_of(bench.signed_in(Role.DSL).get("/").text)
    assert "Today 50" in page
    assert "There are more." in page


def test_an_item_says_who_opened_it(bench: Bench, alerts: dict[str, str]) -> None:
    client = bench.signed_in(Role.DSL)
    client.get(f"/alerts/{alerts[TOR]}")
    page = text_of(client.get(f"/alerts/{alerts[TOR]}").text)
    assert page.count("Dsl, today at") >= 2
    assert "Head," not in page
