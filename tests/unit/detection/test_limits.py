"""How often is too often is the school's to say: its own number, or none (W-43)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.trial import run_tests
from schoolkeeper_policies.parse import pack_folder
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import model
from support.detection import HOUR_MS, NOON_MS, Bench, refused
from support.stores import ENGINES, StoreUrls


def westgate(tmp_path: Path, limits: str) -> Path:
    folder = tmp_path / "westgate-primary"
    shutil.copytree(pack_folder("westgate-primary"), folder)
    file = folder / "pack.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("  format: 1\n", f"  format: 1\n  limits: {limits}\n"), encoding="utf-8")
    return folder


def started(rule_id: str, decision: model.DecisionKind) -> model.ApplicationStarted:
    return model.ApplicationStarted(
        application=model.Application(path="/usr/bin/x"),
        rule=model.RuleRef(rule_id=rule_id, decision=decision),
    )


@pytest.mark.requirement("W-43")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_schools_number_of_tries_in_a_day_reaches_the_dsl_and_one_fewer_does_not(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rules = load_rules(westgate(tmp_path, "{social-media.repeated: 3, use.repeated: 4}"))
    bench = Bench.make(StoreUrls.of(engine, tmp_path, request), rules)
    device = bench.device()
    often, seldom = bench.person("often", "pupil"), bench.person("seldom", "pupil")
    social = "aup.w-r11.pupils"
    for who in (often, seldom):
        bench.event(device, refused(social), who=who)
        bench.event(device, started(social, model.DecisionKind.WARN), who=who, at_ms=NOON_MS + HOUR_MS)
    bench.event(device, started(social, model.DecisionKind.ALLOW), who=seldom, at_ms=NOON_MS + HOUR_MS)
    bench.run(NOON_MS + 2 * HOUR_MS)
    assert bench.rows("alerts") == [], "two nudges, and nobody was told"
    bench.event(device, refused(social), who=often, at_ms=NOON_MS + 2 * HOUR_MS)
    bench.run(NOON_MS + 3 * HOUR_MS)
    (row,) = bench.rows("alerts")
    assert (row["rule_id"], row["audience"]) == ("social-media.repeated", "dsl")
    assert bench.rows("incidents") == []
    bench.event(device, refused("aup.w-r09.ks1"), who=often, at_ms=NOON_MS + 3 * HOUR_MS)
    bench.run(NOON_MS + 4 * HOUR_MS)
    assert {str(row["rule_id"]) for row in bench.rows("alerts")} == {"social-media.repeated", "use.repeated"}
    bench.store.close()


def test_a_limit_of_nought_switches_the_rule_off_and_another_number_is_another_version(
    tmp_path: Path,
) -> None:
    shipped = load_rules("westgate-primary").rules
    own = load_rules(westgate(tmp_path, "{social-media.repeated: 0, use.repeated: 7}"))
    assert "social-media.repeated" in shipped
    assert "social-media.repeated" not in own.rules
    assert own.rules["use.repeated"].version != shipped["use.repeated"].version
    assert not [
        d for d in own.by_kind["application.refused"] if d.finds and d.rule.rule_id.startswith("social")
    ]


def test_the_tests_inside_the_rules_hold_whatever_the_school_set(tmp_path: Path) -> None:
    folder = westgate(tmp_path, "{social-media.repeated: 3}")
    count, failures = run_tests(load_rules(folder, own_limits=False))
    assert count
    assert failures == []


@pytest.mark.parametrize(
    ("limits", "reason", "remedy"),
    [
        ("{use.repeatd: 3}", "no detection rule 'use.repeatd'", "use.repeated"),
        ("{bypass.repeated: 90}", "no detection rule 'bypass.repeated' leaves", "use.repeated"),
        ("{use.repeated: -1}", "greater than or equal to 0", ""),
        ("{use.repeated: often}", "integer", ""),
    ],
)
def test_a_limit_that_fits_no_rule_is_refused_at_its_place(
    tmp_path: Path, limits: str, reason: str, remedy: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_rules(westgate(tmp_path, limits))
    (problem,) = caught.value.problems
    assert reason in problem.reason
    assert remedy in problem.remedy
    assert str(problem.position).startswith("westgate-primary/pack.yaml:3")
