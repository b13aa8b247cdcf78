"""Nobody can switch off the check that illegal content is filtered: not a pack, not a collector, not two officers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from schoolkeeper_agent.trust import load_trust
from schoolkeeper_collector.school import staging
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import mandatory, policy, trust
from schoolkeeper_proto.bundle import build
from schoolkeeper_proto.codec import decode
from support.hostile import HostileCollector, Laptop, enrolled_laptop, hostile_copy
from support.school import GROUP, School, wall_ms


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    school = School(tmp_path_factory.mktemp("school"))
    yield school
    school.close()


@pytest.fixture
def collector(template: School, tmp_path: Path) -> HostileCollector:
    return hostile_copy(template, tmp_path / "collector")


@pytest.fixture
def laptop(collector: HostileCollector, tmp_path: Path) -> Laptop:
    return enrolled_laptop(collector, tmp_path / "laptop")


def sections_of(bundle: bytes) -> dict[str, policy.Section]:
    held = {section.name: section.data for section in decode(policy.PolicyBundle, bundle).sections}
    return {
        "posture": decode(policy.PostureSection, held["posture"]),
        "collection": decode(policy.CollectionSection, held["collection"]),
    }


def without(bundle: bytes, school: School) -> bytes:
    """The same without the check, as a collector that can build bundles would make it."""
    held = sections_of(bundle)
    posture = held["posture"]
    assert isinstance(posture, policy.PostureSection)
    kept = tuple(check for check in posture.checks if check.check != mandatory.FILTER_CHECK)
    return build(
        school_id=school.school_id,
        group=GROUP,
        version=9,
        compiled_at_unix_ms=1,
        sections=(replace(posture, checks=kept), held["collection"]),
    )


def test_every_bundle_has_it_whatever_the_pack_says(template: School) -> None:
    bundle = compile_pack(
        "default", school_id="x", group=GROUP, version=1, compiled_at_unix_ms=1, pseudonym_key=bytes(32)
    )
    assert mandatory.missing_in(bundle) == ""


def test_a_pack_that_looks_too_seldom_is_refused(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    text = (pack / "posture.yaml").read_text()
    seldom = "posture:\n  - {check: content-filter, every_seconds: 604800, fix: Ask.}\n"
    (pack / "posture.yaml").write_text(text.replace("posture:\n", seldom, 1))
    with pytest.raises(PolicyError, match="once a day at least"):
        compile_pack(
            pack, school_id="x", group=GROUP, version=1, compiled_at_unix_ms=1, pseudonym_key=bytes(32)
        )


def test_its_result_must_be_collected_with_a_notice() -> None:
    posture = policy.PostureSection(
        checks=(policy.PostureCheck(check=mandatory.FILTER_CHECK, every_seconds=3_600),)
    )
    kinds = (policy.CollectedKind(kind="posture", notice=""), policy.CollectedKind(kind="usage", notice="x"))
    for held in ((), kinds):
        assert "not collected" in mandatory.missing(posture, policy.CollectionSection(kinds=held))


def test_it_can_be_neither_staged_nor_signed_nor_published(collector: HostileCollector) -> None:
    school = collector.school
    bundle = without(collector.files()[trust.bundle_target(GROUP)], school)
    with pytest.raises(trust.TrustRefused, match="nobody can switch off"):
        staging.stage(school.folder, school.keys, {trust.bundle_target(GROUP): bundle}, wall_ms())


def test_a_device_that_has_it_refuses_a_bundle_without(collector: HostileCollector, laptop: Laptop) -> None:
    """Even where two officers signed it with a tool of their own."""
    bundle = without(collector.files()[trust.bundle_target(GROUP)], collector.school)
    collector.publish("technician", "dsl", **{f"bundles__{GROUP}": bundle})
    before = load_trust(laptop.state_dir)
    update = laptop.update()
    assert update.refused == "mandatory-check"
    assert "content-filter" in update.message
    assert load_trust(laptop.state_dir) == before
