"""E-mail against a real SMTP server: without personal detail, once per item, again after failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from schoolkeeper_collector.incidents.mail import MailSecurity, MailServer, SmtpMailer
from schoolkeeper_collector.incidents.notices import Outbox
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model
from support.detection import NOON_MS, SCHOOL, Bench, pseudonym, refused
from support.ports import free_port
from support.smtp import Sink, smtp_sink

MINUTE_MS = 60_000


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        yield running


def outbox(bench: Bench, port: int) -> Outbox:
    server = MailServer(host="127.0.0.1", port=port, security=MailSecurity.NONE)
    return Outbox(
        bench.store,
        SCHOOL,
        SmtpMailer(server),
        sender="keeper@school.example",
        console_url="https://keeper.example/",
    )


def an_incident(bench: Bench) -> None:
    who = bench.person("Robin Example", "pupil")
    bench.event(bench.device("robins-laptop"), refused(decision=model.DecisionKind.BLOCK_AND_RAISE), who=who)
    bench.run()


def test_a_notice_says_that_there_is_something_and_nothing_else(bench: Bench, sink: Sink) -> None:
    an_incident(bench)
    assert outbox(bench, sink.port).step(NOON_MS) == 1
    ((sender, recipients),) = sink.envelopes
    assert (sender, recipients) == ("keeper@school.example", ["acc-dsl@school.example"])
    text = sink.mails[0].as_string()
    (incident,) = bench.rows("incidents")
    assert f"https://keeper.example/incidents/{bytes(incident['incident_id']).hex()}" in text  # type: ignore[call-overload]
    secrets = (
        "Robin",
        "robins-laptop",
        "Tor",
        "bypass",
        "illegal",
        "pupil",
        "bypass.tor",
        pseudonym("Robin Example").hex(),
    )
    for secret in secrets:
        assert secret not in text, secret


def test_an_account_is_told_once_of_an_item(bench: Bench, sink: Sink) -> None:
    an_incident(bench)
    bench.event(1, refused(decision=model.DecisionKind.BLOCK_AND_RAISE), who=bench_user())
    bench.run()
    sender = outbox(bench, sink.port)
    assert [sender.step(NOON_MS + n * MINUTE_MS) for n in range(3)] == [1, 0, 0]
    assert bench.rows("notices")[0]["sent_ms"] == NOON_MS


def test_an_alert_that_grows_tells_nobody_again(bench: Bench, sink: Sink) -> None:
    device = bench.device()
    for _ in range(3):
        bench.event(device, model.AgentTampered(what="unit"))
        bench.run()
    assert bench.rows("alerts")[0]["findings"] == 3
    assert [row["object_type"] for row in bench.rows("notices")] == ["alert"]
    assert outbox(bench, sink.port).step(NOON_MS) == 1


def bench_user() -> model.UserRef:
    return model.UserRef(pseudonym=pseudonym("Robin Example"), kind=model.UserKind.PERSON)


def test_what_fails_is_sent_again_with_growing_pauses(bench: Bench, sink: Sink) -> None:
    an_incident(bench)
    sink.fail_next, sink.hang_up_next = 1, 1
    sender = outbox(bench, sink.port)
    assert sender.step(NOON_MS) == 0
    assert sender.step(NOON_MS + 29_999) == 0
    assert bench.rows("notices")[0]["attempts"] == 1
    assert sender.step(NOON_MS + 30_000) == 0
    assert "451 try again later" in str(bench.rows("notices")[0]["last_error"])
    assert sender.step(NOON_MS + 60_000) == 0
    assert sender.step(NOON_MS + 90_000) == 1
    assert (len(sink.mails), bench.rows("notices")[0]["attempts"]) == (1, 3)


def test_a_mail_server_that_is_not_there_is_told_to_the_technician_and_nothing_is_forgotten(
    bench: Bench, sink: Sink
) -> None:
    an_incident(bench)
    sender = outbox(bench, free_port())
    at = NOON_MS
    for _ in range(5):
        sender.step(at)
        at = int(str(bench.rows("notices")[0]["next_attempt_ms"]))
    assert "cannot be reached" in str(bench.rows("notices")[0]["last_error"])
    bench.run()
    (alert,) = [row for row in bench.rows("alerts") if row["rule_id"] == "notice.failing"]
    assert alert["audience"] == "technician"
    assert outbox(bench, sink.port).step(at) == 1


def test_an_address_that_is_refused_does_not_hold_up_the_others(bench: Bench, sink: Sink) -> None:
    from sqlalchemy import insert

    from support.detection import account_row

    with bench.store.write() as connection:
        connection.execute(
            insert(tables.accounts).values(account_row("acc-deputy", "dsl", "gone@school.example"))
        )
        bad = account_row("acc-odd", "dsl", "a@b\nBcc: all@school.example")
        connection.execute(insert(tables.accounts).values(bad))
    sink.refused.add("gone@school.example")
    an_incident(bench)
    assert outbox(bench, sink.port).step(NOON_MS) == 1
    errors = {str(row["account_id"]): str(row["last_error"]) for row in bench.rows("notices")}
    assert "550 no such mailbox" in errors["acc-deputy"]
    assert "cannot be written to" in errors["acc-odd"]
    assert len(sink.mails) == 1


def test_a_disabled_account_gets_no_mail(bench: Bench, sink: Sink) -> None:
    an_incident(bench)
    with bench.store.write() as connection:
        connection.execute(update(tables.accounts).values(disabled_ms=NOON_MS))
    assert outbox(bench, sink.port).step(NOON_MS) == 0
    assert sink.mails == []


def test_a_technician_is_led_to_the_alert(bench: Bench, sink: Sink) -> None:
    bench.fact(bench.device(), "chain.broken")
    bench.run()
    assert outbox(bench, sink.port).step(NOON_MS) == 1
    (alert,) = bench.rows("alerts")
    assert f"/alerts/{bytes(alert['alert_id']).hex()}" in sink.mails[0].as_string()  # type: ignore[call-overload]
    assert sink.envelopes[0][1] == ["acc-tech@school.example"]


def test_the_same_notice_has_the_same_message_id(bench: Bench, sink: Sink) -> None:
    an_incident(bench)
    sender = outbox(bench, sink.port)
    sender.step(NOON_MS)
    with bench.store.write() as connection:
        connection.execute(update(tables.notices).values(sent_ms=None))  # as after a crash before the mark
    sender.step(NOON_MS)
    assert sink.mails[0]["Message-ID"] == sink.mails[1]["Message-ID"]


def test_nobody_to_tell_is_written_into_the_incidents_log(bench: Bench) -> None:
    with bench.store.write() as connection:
        connection.execute(update(tables.accounts).values(email=""))
    an_incident(bench)
    assert [row["action"] for row in bench.rows("case_entries")] == ["raised", "notice"]
