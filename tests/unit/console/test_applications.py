"""Applications that ran on devices against the school's assessments: an update stays assessed, a new one is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.detection import applications_seen
from schoolkeeper_collector.detection.applications_seen import KEEP_MS, identity_of
from schoolkeeper_collector.school.pack_in_force import put_in_force
from schoolkeeper_proto import model
from support.console import Bench as Console
from support.console import Clock, new_bench, text_of
from support.detection import HOUR_MS, NOON_MS, Bench, user
from support.language import pack
from support.stores import StoreUrls

_DAY_MS = 24 * HOUR_MS
REGISTER = """
assessments:
  - {application: gimp, assessed_by: computing lead, assessed_on: 2026-01-05, outcome: allowed, review: 2030-01-05}
  - application: Old Chat
    assessed_by: head
    assessed_on: 2020-01-05
    outcome: limited
    limits: staff only
    review: 2020-06-30
  - {site: chat.example, assessed_by: head, assessed_on: 2026-01-05, outcome: refused, review: 2030-01-05}
"""


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench.make(StoreUrls.of("sqlite", tmp_path, request))
    yield made
    made.store.close()


def used(bench: Bench, device: int, application: model.Application, at_ms: int = NOON_MS) -> None:
    """The count of one hour's use by a pupil."""
    body = model.ApplicationUsage(
        aggregate_id=b"a" * 16, application=application, hour_start_unix_ms=at_ms, starts=1
    )
    bench.event(device, body, at_ms=at_ms, who=user("rowan"))


def console_of(bench: Bench, state_dir: Path | None) -> Console:
    return new_bench(bench.store, Clock(NOON_MS + 2 * _DAY_MS), state_dir=state_dir)


def page_of(console: Console, role: Role = Role.TECHNICIAN) -> str:
    answer = console.signed_in(role).get("/applications")
    assert answer.status_code == 200
    return text_of(answer.text)


def in_force(tmp_path: Path, register: str = REGISTER) -> Path:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    put_in_force(state, pack(tmp_path, register))
    return state


@pytest.mark.requirement("W-55")
def test_an_update_of_an_assessed_application_stays_assessed_and_a_new_one_is_not(
    bench: Bench, tmp_path: Path
) -> None:
    console = console_of(bench, in_force(tmp_path))
    one, two = bench.device("laptop-1"), bench.device("laptop-2")
    used(bench, one, model.Application(path="/usr/bin/gimp-2.10", sha256=b"1" * 32, package="gimp"))
    bench.run()
    before = page_of(console)
    assert "Unassessed: 0. Review overdue: 0. Assessed: 1." in before
    updated = model.Application(path="/usr/bin/gimp-3.0", sha256=b"2" * 32, package="gimp")
    used(bench, two, updated, NOON_MS + 3 * HOUR_MS)
    bench.run()
    assert "Unassessed: 0. Review overdue: 0. Assessed: 1." in page_of(console)
    used(bench, two, model.Application(path="/home/rowan/ChatHelper.AppImage", sha256=b"3" * 32))
    bench.run()
    after = page_of(console, Role.HEAD)
    assert "Unassessed: 1. Review overdue: 0. Assessed: 1." in after
    assert "ChatHelper.AppImage unassessed nothing yet none" in after
    assert "gimp assessed allowed computing lead, 2026-01-05 2030-01-05" in after
    assert not any(word in after for word in ("rowan", "laptop-1", "laptop-2"))
    assert console.signed_in(Role.STAFF).get("/applications").status_code == 403


def test_an_overdue_review_is_not_shown_as_assessed_and_what_nobody_saw_is_listed_apart(
    bench: Bench, tmp_path: Path
) -> None:
    console = console_of(bench, in_force(tmp_path))
    device = bench.device("laptop-1")
    rule = model.RuleRef(rule_id="chat", decision=model.DecisionKind.OBSERVE)
    old = model.Application(path="/opt/chat", identity="OLD CHAT")
    used(bench, device, old)
    # A single start is nobody's here: others read it, and for less long.
    alone = model.Application(path="/opt/alone", identity="ALONE")
    bench.event(device, model.ApplicationStarted(application=alone, rule=rule), at_ms=NOON_MS)
    bench.run()
    page = page_of(console)
    assert "ALONE" not in page
    assert "Unassessed: 0. Review overdue: 1. Assessed: 0." in page
    assert "OLD CHAT review overdue allowed within limits : staff only" in page.replace("limits:", "limits :")
    _, _, unseen = page.partition("Assessed, and not seen on devices")
    assert "chat.example assessed refused" in unseen
    assert "gimp assessed allowed" in unseen
    assert "OLD CHAT" not in unseen


@pytest.mark.parametrize("folder", [None, "."])
def test_without_the_pack_nothing_is_called_assessed(
    bench: Bench, tmp_path: Path, folder: str | None
) -> None:
    used(bench, bench.device("laptop-1"), model.Application(path="/usr/bin/gimp", package="gimp"))
    bench.run()
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "current").write_text("copied gone\n")
    page = page_of(console_of(bench, tmp_path / folder if folder else None))
    assert "so that nobody can say what is assessed" in page
    assert "Assessed:" not in page


@pytest.mark.parametrize(
    ("application", "identity"),
    [
        (model.Application(path="/opt/tor/firefox", package="p", identity="Tor Browser"), "Tor Browser"),
        (model.Application(path="/snap/zoom-client/225/zoom/zoom"), "zoom-client"),
        (
            model.Application(path="/var/lib/flatpak/app/org.gimp.GIMP/x86_64/stable/abc/files/bin/gimp"),
            "org.gimp.GIMP",
        ),
        (model.Application(path="/usr/lib/x/x-1.2", package="x"), "x"),
        (model.Application(path="/home/a/Zoom-5.17.11_x86_64.AppImage"), "Zoom"),
        (model.Application(path="/home/a/Zoom_v6.0.AppImage"), "Zoom"),
        (model.Application(path="/usr/bin/7z"), "7z"),
        (model.Application(path="", name="paint"), "paint"),
        (model.Application(path=""), ""),
        (model.Application(path="/usr/bin/a\x00b\n"), "ab"),
    ],
)
def test_an_identity_is_what_an_update_leaves_as_it_is(application: model.Application, identity: str) -> None:
    assert identity_of(application) == identity


def test_the_list_has_an_end_that_is_said_and_what_is_long_gone_is_forgotten(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications_seen, "MOST", 2)
    monkeypatch.setattr("schoolkeeper_collector.console.assessed.MOST", 2)
    device = bench.device("laptop-1")
    for name in ("one", "two", "three"):
        used(bench, device, model.Application(path=f"/usr/bin/{name}"))
    used(bench, device, model.Application(path="/usr/bin/one"), NOON_MS - 30 * HOUR_MS)
    bench.run()
    rows = bench.rows("applications_seen")
    assert [(row["identity"], row["first_ms"]) for row in rows] == [
        ("one", NOON_MS - 30 * HOUR_MS),
        ("two", NOON_MS),
    ]
    assert "The list is full" in page_of(console_of(bench, in_force(tmp_path)))
    bench.run(NOON_MS + KEEP_MS + 25 * HOUR_MS)
    assert bench.rows("applications_seen") == []
