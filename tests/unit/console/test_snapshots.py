"""The pages of the technical audit, and the policy's review where people read about the policy."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from schoolkeeper_collector.console import call
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.reports.snapshots import body_of, make_snapshot
from schoolkeeper_collector.school.policy_review import Due, Review, review_at
from support.console import SCHOOL, Bench, text_of


@pytest.mark.requirement("T-33", "W-67")
def test_a_technician_reads_the_state_of_each_and_takes_the_file(bench: Bench) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    assert "None was made yet." in client.get("/snapshots").text
    with bench.store.write() as connection:
        made = make_snapshot(connection, SCHOOL, bench.clock(), actor="schedule", stale_days=14)
        body = body_of(connection, SCHOOL, made.at_ms)
    page = client.get("/snapshots").text
    assert "the schedule" in page
    assert "sk-tag--unknown" in page, "without the log's key nothing is called verified"
    answer = client.get(f"/snapshots/{made.digest.hex()}")
    assert answer.content == body
    assert "attachment" in answer.headers["content-disposition"]
    assert client.get("/snapshots/" + "0" * 64).status_code == 404
    assert bench.signed_in(Role.DSL).get("/snapshots").status_code == 403


@pytest.mark.requirement("T-01")
@pytest.mark.parametrize("role", [Role.HEAD, Role.CHAIR, Role.DSL, Role.TECHNICIAN])
def test_an_overdue_review_is_red_and_said_in_words(
    bench: Bench, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.fromtimestamp(bench.clock() / 1000, UTC).date()
    day = today - timedelta(days=3)

    class Overdue:
        def at(self, state_dir: Path | None, asked: date) -> Review:
            assert state_dir is None
            return review_at(day, asked)

    monkeypatch.setattr(call.Console, "policy_review", Overdue(), raising=False)
    client = bench.signed_in(role)
    page = client.get("/").text
    assert "govuk-error-message" in page
    assert "3 days ago" in text_of(page)
    day = today + timedelta(days=30)
    page = client.get("/").text
    assert "govuk-error-message" not in page
    assert "in 30 days" in text_of(page)
    day = today + timedelta(days=31)
    assert "review of the policy" not in client.get("/").text
    assert "The next review of the policy: by" in client.get("/notices").text


def test_a_pack_that_cannot_be_read_is_not_called_in_time(bench: Bench) -> None:
    assert "is unknown: the pack in force cannot be read" in bench.signed_in(Role.HEAD).get("/notices").text
    assert Due.UNKNOWN in Due
