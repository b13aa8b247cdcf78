"""`schoolkeeper-collector rules`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_collector.detection.commands import app
from schoolkeeper_collector.detection.cursors import disable_rule
from support.detection import SCHOOL, Bench
from support.stores import StoreUrls


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    urls = StoreUrls(store=f"sqlite:///{tmp_path}/collector.db", keystore=f"sqlite:///{tmp_path}/keystore.db")
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(tmp_path))
    return Bench.make(urls)


def test_a_disabled_rule_is_shown_and_gets_another_chance(school: Bench) -> None:
    rule = school.rules.rules["agent.killed"]
    with school.store.write() as connection:
        disable_rule(connection, SCHOOL, rule.rule_id, rule.version, "ValueError: no", 5)
    run = CliRunner().invoke
    listed = run(app, ["list"])
    assert listed.exit_code == 0, listed.output
    (line,) = [line for line in listed.output.splitlines() if line.startswith("agent.killed ")]
    assert line.endswith("DISABLED")
    shown = run(app, ["disabled"])
    assert (shown.exit_code, "ValueError: no" in shown.output) == (1, True)
    assert run(app, ["enable", "agent.killed"]).exit_code == 0
    assert run(app, ["disabled"]).exit_code == 0
    again = run(app, ["enable", "agent.killed"])
    assert (again.exit_code, "is not disabled" in again.output) == (1, True)


def test_without_a_database_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 1
    assert "migrate" in result.output or "init" in result.output
