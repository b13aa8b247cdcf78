"""A release reaches a device only as two officers signed it; what the collector alone shows is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_agent.trust import FOLDER, RELEASE, TrustDamaged, load_trust, release_name
from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.updates.commands import releases
from schoolkeeper_collector.updates.packages import Packages
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import encode
from support.hostile import HostileCollector, Laptop, enrolled_laptop, hostile_copy
from support.officers import publish
from support.school import GROUP, School, wall_ms
from support.small_packages import SmallDpkg, unable

NAME = release_name()
PLATFORM, _, ARCHITECTURE = NAME.removeprefix("agent/").partition("-")
MADE = policy.AgentRelease(
    school_id="westgate.example",
    version="9.0",
    platform=PLATFORM,
    architecture=ARCHITECTURE,
    package_sha256=b"p" * 32,
    package_length=5,
    files_sha256=b"f" * 32,
    salt=b"s" * 16,
    per_mille=1000,
)


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


def _publish(collector: HostileCollector, made: policy.AgentRelease, *officers: str) -> None:
    collector.publish(*officers, **{NAME.replace("/", "__"): encode(made)})


def test_two_officers_make_a_release_and_it_is_verified_whenever_it_is_loaded(
    collector: HostileCollector, laptop: Laptop
) -> None:
    assert laptop.in_force().release is None
    _publish(collector, MADE, "technician", "dsl")
    assert laptop.update().changed
    assert laptop.in_force().release == MADE
    (held,) = (laptop.state_dir / FOLDER / "sets").glob(f"*/{RELEASE}")
    held.write_bytes(encode(replace(MADE, package_sha256=b"q" * 32)))
    with pytest.raises(TrustDamaged):
        load_trust(laptop.state_dir)


@pytest.mark.parametrize("officers", [("technician",), ("dsl",), ("technician", "second-technician"), ()])
def test_no_duty_alone_can_put_a_program_on_a_device(
    collector: HostileCollector, laptop: Laptop, officers: tuple[str, ...]
) -> None:
    _publish(collector, MADE, *officers)
    assert laptop.update().refused in ("signature", "no-technical-signature", "no-safeguarding-signature")
    assert laptop.in_force().release is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"school_id": "other.example"}, "wrong-school"), ({"architecture": "m68k"}, "altered-target")],
)
def test_a_release_of_another_school_or_machine_is_refused_with_its_whole_set(
    collector: HostileCollector, laptop: Laptop, changed: dict[str, str], reason: str
) -> None:
    _publish(collector, replace(MADE, **changed), "technician", "dsl")  # type: ignore[arg-type]
    laptop.refuses(reason)


@pytest.mark.skipif(bool(unable()), reason=unable())
def test_a_package_is_staged_signed_published_widened_and_outlives_a_change_of_policy(
    collector: HostileCollector, laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = collector.school
    package = _package(tmp_path)
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    first = _staged(package, "10")
    assert "for 10 % of the linux-" in first
    (made,) = _signed(school).values()
    assert (made.version, made.per_mille) == ("1.0", 100)
    assert (
        Packages(school.folder).path_of(f"packages/{made.package_sha256.hex()}").read_bytes()
        == package.read_bytes()
    )
    _staged(package, "100")
    (wider,) = _signed(school).values()
    assert wider == replace(made, per_mille=1000), "the salt stays, so that nobody falls out"
    bundle = compile_bundle("default", school.keys, group=GROUP, version=2, now_ms=wall_ms())
    staged = staging.stage(school.folder, school.keys, {trust.bundle_target(GROUP): bundle}, wall_ms())
    publish(school, staged, "technician", "dsl")
    assert releases(school.folder) == {"agent/linux-all": wider}
    assert school.repository.current().bundles[GROUP][1] > 1


def _package(tmp_path: Path) -> Path:
    dpkg = SmallDpkg(tmp_path / "dpkg").make()
    return dpkg.build("1.0", files={"usr/lib/schoolkeeper-agent/files.sha256": "listed\n"})


def _staged(package: Path, share: str) -> str:
    done = CliRunner().invoke(make_app(), ["agent-update", "stage", str(package), "--share", share])
    assert done.exit_code == 0, done.output
    return done.output


def _signed(school: School) -> dict[str, policy.AgentRelease]:
    waiting = staging.read_waiting(school.folder, wall_ms())
    assert waiting is not None
    assert any("is installed on" in line for line in waiting[1].other), "the officers are told what they sign"
    publish(school, school.folder / "trust/staged", "technician", "dsl")
    return releases(school.folder)
