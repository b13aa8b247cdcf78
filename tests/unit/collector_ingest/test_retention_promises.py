"""What people are told about how long something is kept is what the collector does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from schoolkeeper_collector.config import ConfigError, Settings, load_settings
from schoolkeeper_collector.school.keeping import Keeping, check_periods, periods_of, told_days
from schoolkeeper_collector.store.retention import DEFAULT_DAYS, Periods, Retention
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_proto.bundle import open_bundle
from schoolkeeper_proto.codec import kind_number

TOLD = {"session.signed_in": 30, "heartbeat": 14, "posture": 200, "person.report": 2562, "media.copy": 400}


def days(periods: Periods, kinds: Mapping[str, int]) -> dict[str, int]:
    return {kind: periods.days_of(kind_number(kind)) for kind in kinds}


@pytest.mark.requirement("T-41")
@pytest.mark.parametrize("pack", ["default", "demo", "tai-education-centre", "westgate-primary"])
def test_each_notice_says_how_long_the_collector_really_keeps_it(pack: str) -> None:
    group = load_pack(pack).groups[0].name
    data = compile_pack(
        pack,
        school_id="tests.example",
        group=group,
        version=1,
        compiled_at_unix_ms=0,
        pseudonym_key=bytes(32),
    )
    bundle = open_bundle(
        data,
        school_id="tests.example",
        group=group,
        capabilities=frozenset({"applications/1", "media/1", "screen/1", "posture/1"}),
    )
    said = {held.kind: held.retention_days for held in bundle.collection.kinds}
    assert said
    assert said == days(periods_of(Settings(), told_days(pack)), said)


def test_a_notice_of_another_length_is_kept_to_for_its_own_kind() -> None:
    periods = periods_of(Settings(), TOLD)
    assert days(periods, TOLD) == TOLD
    # What no notice names is kept no longer than what some notice of its class names.
    assert days(periods, {"media.attached": 0, "agent.killed": 0, "imported.alert": 0}) == {
        "media.attached": 14,
        "agent.killed": 200,
        "imported.alert": 2562,
    }


def test_a_school_keeps_less_and_never_more() -> None:
    periods = periods_of(Settings(keep_raw_days=20, keep_year_days=100), TOLD)
    assert days(periods, TOLD) == {**TOLD, "session.signed_in": 20, "posture": 100}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(keep_raw_days=31), "keep_raw_days = 31: .* longer than 30 days .'session.signed_in'"),
        (Settings(keep_year_days=366), "keep_year_days = 366: .* 200 days .'posture'"),
        (Settings(keep_safeguarding_days=3000), "keep_safeguarding_days = 3000: .* longer than 2562"),
        (
            Settings(keep_safeguarding_days=365),
            "keep_safeguarding_days = 365: .*'person.report' is kept for 2562",
        ),
    ],
)
def test_a_setting_that_contradicts_the_notice_is_refused_with_the_remedy(
    settings: Settings, said: str
) -> None:
    with pytest.raises(ConfigError, match=f"{said}.*publish a policy"):
        check_periods(settings, TOLD)


def test_a_setting_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text("keep_raw_days = 3\nkeep_incident_days = 30\n")
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", str(file))
    with pytest.raises(ConfigError, match=r"(?s)keep_raw_days: .*7.*keep_incident_days: .*366"):
        load_settings()


def test_a_newly_published_pack_is_taken_up_and_one_that_contradicts_is_said(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, keep_raw_days=20)
    keeping = Keeping(settings)
    heartbeat = kind_number("heartbeat")
    assert (keeping().days_of(heartbeat), keeping.fault) == (20, "")
    folder = tmp_path / "policy" / "own"
    folder.mkdir(parents=True)
    for file in pack_folder("default").glob("*.yaml"):
        text = file.read_text()
        (folder / file.name).write_text(text.replace("retention_days: 30", "retention_days: 10"))
    (tmp_path / "policy" / "current").write_text("copied own\n")
    keeping.look()
    assert keeping().days_of(heartbeat) == 10
    assert "keep_raw_days = 20: people are told" in keeping.fault
    (tmp_path / "policy" / "current").write_text("copied gone\n")
    keeping.look()
    assert keeping().days_of(heartbeat) == 10
    assert "what is deleted follows the pack before" in keeping.fault


def test_without_a_notice_the_classes_hold() -> None:
    periods = periods_of(Settings(), {})
    assert dict(periods.by_class) == DEFAULT_DAYS
    assert periods.of_class(Retention.RAW) == [30]
