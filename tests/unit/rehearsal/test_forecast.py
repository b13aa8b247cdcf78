"""`stage --forecast FILE`: what a rollout is held against comes from the plan of these very policies, or is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.store import tables
from schoolkeeper_policies.cli import app as policy_app
from schoolkeeper_proto import model, policy, rollout, trust
from schoolkeeper_proto.codec import decode, kind_number
from support.officers import pack_with
from support.rehearsed import filled
from support.school import GROUP, School, wall_ms

Run = Callable[..., str]


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[School]:
    made = School(tmp_path / "collector")
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(made.folder))
    yield made
    made.close()


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return pack_with(tmp_path, "enforce")


@pytest.fixture
def plan(school: School, pack: Path, tmp_path: Path) -> Path:
    filled(school)
    made = tmp_path / "plan.json"
    made.write_text(run("policy", "plan", "--pack", str(pack), "--json"))
    return made


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(make_app(), list(arguments))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split()) if code else result.output


def stage(pack: Path, forecast: Path | str, code: int = 0) -> str:
    rings = ("--rings", "50%,all", "--forecast", str(forecast))
    return run("stage", "--group", GROUP, "--pack", str(pack), *rings, code=code)


def expected(school: School) -> int | None:
    found = staging.read_waiting(school.folder, wall_ms())
    assert found is not None
    name = rollout.plan_target(GROUP)
    entry = trust.unchecked_targets(found[0].targets).targets[name]
    data = found[0].target(name, entry.sha256)
    assert data is not None
    terms = decode(policy.RolloutPlan, data).terms
    assert terms is not None
    return terms.refusals_per_1000_device_days


def test_the_forecast_is_what_was_refused_and_what_the_backtest_adds(
    school: School, pack: Path, plan: Path
) -> None:
    stage(pack, plan)
    # Six more on two devices in seven days.
    assert expected(school) == 429
    with school.store.write() as connection:
        number = connection.execute(select(tables.devices.c.device_no)).scalars().first()
        row = {
            "school_id": school.school_id, "device_no": number, "blob_no": 1, "position": 0,
            "kind": kind_number(model.ApplicationRefused.KIND), "event_ms": wall_ms() - 3_600_000, "severity": 1,
        }  # fmt: skip
        connection.execute(insert(tables.events), [row] * 8)
    stage(pack, plan)
    assert expected(school) == 1000
    stage(pack, "12")
    assert expected(school) == 12


def test_a_plan_of_other_policies_is_refused(school: School, pack: Path, plan: Path, tmp_path: Path) -> None:
    said = stage(pack_with(tmp_path, "warn"), plan, code=1)
    assert f"the policy of {GROUP} that is staged now is another than the plan's" in said
    assert "policy plan --pack PACK --json" in said
    held = json.loads(plan.read_text())
    held["bundles"][GROUP]["in_force"] = "0" * 64
    plan.write_text(json.dumps(held))
    assert f"the policy of {GROUP} that is in force is another" in stage(pack, plan, code=1)
    del held["bundles"][GROUP]
    plan.write_text(json.dumps(held))
    assert f"not of {GROUP}" in stage(pack, plan, code=1)
    assert staging.read_waiting(school.folder, wall_ms()) is None, "nothing was staged"


def test_what_is_no_plan_is_named_with_the_remedy(
    school: School, pack: Path, plan: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    for content, words in (
        ("not json", "is not a plan in JSON; it looks like plain text"),
        ("[1]", "is not a plan of version 1; it looks like a JSON file of another kind"),
        ('{"format": 1, "changes": []}', "does not say of which policies"),
        ('{"format": 1, "changes": [], "bundles": {}, "backtest": null}', "not tried against events"),
        ('{"format": 1, "changes": [], "bundles": {}, "backtest": {"effects": 7}}', "is damaged"),
    ):
        wrong.write_text(content)
        said = stage(pack, wrong, code=1)
        assert words in said
        assert str(wrong) in said
    assert "neither a number" in stage(pack, tmp_path / "missing.json", code=1)
    assert "neither a number" in stage(pack, "-5", code=1)


def test_the_authors_own_plan_is_as_good(school: School, pack: Path, tmp_path: Path) -> None:
    """`schoolkeeper-policy plan` against the bundle in force, with exported events."""
    events = tmp_path / "events.jsonl"
    started = {"kind": "started", "device": "laptop-1", "group": GROUP, "at_ms": wall_ms() - 1000}
    events.write_text(json.dumps(started | {"path": "/usr/games/minefield", "place": "on-site"}) + "\n")
    sha256, _ = school.repository.current().bundles[GROUP]
    name = trust.target_file_name(trust.bundle_target(GROUP), sha256.hex())
    made = CliRunner().invoke(
        policy_app,
        [
            "plan", str(pack), "--against", str(school.folder / "trust" / "targets" / name), "--group", GROUP,
            "--events", str(events), "--json",
        ],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    file = tmp_path / "authors.json"
    file.write_text(made.output)
    stage(pack, file)
    assert expected(school) == 143
