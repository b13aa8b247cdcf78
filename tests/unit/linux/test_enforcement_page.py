"""agent/docs/enforcement.md says of every rule and sensor what the code says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from schoolkeeper_agent import enforcers, sensors
from schoolkeeper_agent.context import Context
from schoolkeeper_proto import bundle, policy
from schoolkeeper_proto.bundle import OpenBundle, open_bundle

ROOT = Path(__file__).resolve().parents[3]
PAGE = " ".join((ROOT / "agent/docs/enforcement.md").read_text().split())
NO_RULES = {"collection", "notice"}


@pytest.fixture
def without_root(tmp_path: Path) -> Context:
    return Context(bundle=_empty(), run_dir=tmp_path, has_root=False)


def _empty() -> OpenBundle:
    data = bundle.build(
        school_id="s", group="g", version=1, compiled_at_unix_ms=0, sections=(policy.CollectionSection(),)
    )
    return open_bundle(data, school_id="s", group="g", capabilities=frozenset())


def test_every_enforcer_is_on_the_page_with_its_reason(without_root: Context) -> None:
    found = enforcers.load("linux", without_root, lambda _: None)
    assert found
    for enforcer in found:
        assert f"**{enforcer.name}**" in PAGE
        ability = enforcer.ability()
        assert not ability.able, f"{enforcer.name} enforces without root: the page says that it observes"
        if ability.because.startswith("needs root"):  # the screen's first says whether there is a bus at all
            assert f"`{ability.because}`" in PAGE


def test_every_sensor_is_on_the_page_with_its_reason(without_root: Context) -> None:
    found = sensors.load("linux", without_root)
    assert found
    for sensor in found:
        assert f"| `{sensor.name}` |" in PAGE
        because = sensor.ability().because
        assert not because or f"`{because}`" in PAGE or "bus" in because, because


def test_every_word_of_the_preview_for_windows_is_on_its_page(without_root: Context) -> None:
    """What runs there is looked at under Wine (tests/wine); here, what does not."""
    page = " ".join((ROOT / "agent/docs/windows.md").read_text().split())
    names = {one.name for one in enforcers.load("linux", without_root, lambda _: None)}
    found = enforcers.load("win32", without_root, lambda _: None)
    assert {one.name for one in found} == names, "none is silently missing"
    for enforcer in found:
        assert not enforcer.ability().able
        assert enforcer.ability().because.startswith("the preview for Windows only reports; ")
    assert "`the preview for Windows only reports`" in page
    seen = {one.name for one in sensors.load("win32", without_root)}
    assert seen | {"processes", "posture"} == {one.name for one in sensors.load("linux", without_root)}
    for sensor in sensors.load("win32", without_root):
        assert f"`{sensor.name}`" in page
        assert f"`{sensor.ability().because}`" in page


def test_every_kind_of_rule_is_on_the_page() -> None:
    for name, _ in bundle.SECTION_CLASSES:
        assert name in NO_RULES or f"**{name}**" in PAGE


def test_platforms_without_an_agent_load_nothing(without_root: Context) -> None:
    for platform in ("darwin", "android"):
        assert list(sensors.load(platform, without_root)) == []
        assert list(enforcers.load(platform, without_root, lambda _: None)) == []
