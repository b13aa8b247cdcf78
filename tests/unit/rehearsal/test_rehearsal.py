"""A staged policy tried against stored events: read from real blobs, printed, kept, and shown by the console."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.rehearsal.kept import keep, read_kept
from schoolkeeper_collector.rehearsal.planning import NothingToPlan, pairs_of, rehearse
from schoolkeeper_policies.trying.backtest import Effect
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode, glimpse
from support.console import Clock, new_bench
from support.officers import pack_with, stage_pack
from support.rehearsed import event, filled
from support.school import School, wall_ms

HOUR_MS = 3_600_000


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    yield made
    made.close()


def test_a_staged_change_is_tried_against_stored_events(school: School, tmp_path: Path) -> None:
    hour = filled(school)
    with pytest.raises(NothingToPlan, match="stage --pack"):
        pairs_of(school.folder, "", wall_ms())
    stage_pack(school, pack_with(tmp_path, "enforce"))
    pairs = pairs_of(school.folder, "", wall_ms())
    now = wall_ms()
    plan, unreadable = rehearse(
        school.store, school.school_id, "Europe/London", pairs, since_ms=now - 7 * 24 * HOUR_MS, until_ms=now
    )
    assert [(p.change.rule_id, str(p.change.direction), p.devices) for p in plan.planned] == [
        ("tests.minefield", "stricter", 2)
    ]
    assert plan.outcome is not None
    (tally,) = plan.outcome.of(Effect.REFUSED)
    assert (tally.count, len(tally.devices), tally.first_ms) == (6, 2, hour + 5)
    assert (plan.outcome.events, unreadable) == (5, 0)


def test_what_was_erased_is_said_and_not_counted(school: School, tmp_path: Path) -> None:
    filled(school)
    stage_pack(school, pack_with(tmp_path, "enforce"))
    for key_id, _ in school.store.keystore.keys_of(school.school_id, "events"):
        school.store.keystore.erase_key(key_id)
    now = wall_ms()
    pairs = pairs_of(school.folder, "", now)
    plan, unreadable = rehearse(
        school.store, school.school_id, "Europe/London", pairs, since_ms=now - 7 * 24 * HOUR_MS, until_ms=now
    )
    assert unreadable == 5
    assert plan.outcome is not None
    assert plan.outcome.events == 0


def test_the_command_prints_it_and_keeps_it(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(school)
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    runner = CliRunner()
    pack = pack_with(tmp_path, "enforce")
    done = runner.invoke(make_app(), ["policy", "plan", "--pack", str(pack)])
    assert done.exit_code == 0, done.output
    assert "tests.minefield: would have refused at least 6 starts on 2 devices" in done.output
    kept = read_kept(school.folder)
    assert kept is not None
    assert kept.of == str(pack)
    assert kept.plan["backtest"]["effects"][0]["count"] == 6
    told = runner.invoke(make_app(), ["policy", "plan", "--pack", str(pack), "--json"])
    assert json.loads(told.output)["changes"][0]["rule"] == "tests.minefield"
    nothing = runner.invoke(make_app(), ["policy", "plan"])
    assert nothing.exit_code == 1
    assert "no change of policy waits" in nothing.output


def test_the_console_shows_it_and_says_when_it_is_of_something_else(school: School, tmp_path: Path) -> None:
    filled(school)
    client = new_bench(school.store, Clock(wall_ms()), state_dir=school.folder).signed_in(Role.TECHNICIAN)
    assert "Nothing was tried yet" in client.get("/changes/rehearsal").text
    stage_pack(school, pack_with(tmp_path, "enforce"))
    now = wall_ms()
    pairs = pairs_of(school.folder, "", now)
    plan, unreadable = rehearse(
        school.store, school.school_id, "Europe/London", pairs, since_ms=now - 7 * 24 * HOUR_MS, until_ms=now
    )
    keep(school.folder, plan, pairs, of="the change that waits", days=7, unreadable=unreadable, now_ms=now)
    page = client.get("/changes/rehearsal").text
    assert "tests.minefield" in page
    assert "minefield 6" in page
    assert "not the change that waits now" not in page
    stage_pack(school, pack_with(tmp_path, "warn"))
    assert "not the change that waits now" in client.get("/changes/rehearsal").text


def test_a_glimpse_is_what_the_whole_event_says() -> None:
    body = model.MediumAttached(
        medium=model.Medium(
            kernel_name="sda", serial="S", vendor_id="ab", encryption=model.MediumEncryption.LUKS2
        )
    )
    seen = glimpse(encode(event(body, 1, 1)))
    assert seen is not None
    assert (seen.what, seen.place, seen.person) == (("S", "ab", "", "", "luks2"), "on-site", b"p" * 16)
    assert glimpse(encode(event(model.Heartbeat(), 1, 1))) is None
