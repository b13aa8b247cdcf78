"""What a package says, what officers sign of it, who takes it, and when it is handed out no more."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.updates import gate as gates
from schoolkeeper_collector.updates.deb import DebError, read_agent_package
from schoolkeeper_collector.updates.gate import Standing, standing_of
from schoolkeeper_collector.updates.packages import Halted, Packages
from schoolkeeper_policies.officer.rollout_words import release_words
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.release import architecture_of, check_release, package_name, release_target, takes
from schoolkeeper_proto.trust import TrustRefused
from support.small_packages import SmallDpkg, unable

RELEASE = policy.AgentRelease(
    school_id="s",
    version="0.1.1+lab",
    platform="linux",
    architecture="amd64",
    package_sha256=b"p" * 32,
    package_length=10,
    files_sha256=b"f" * 32,
    salt=b"s" * 16,
    per_mille=50,
)
TARGET = "agent/linux-amd64"
needs_dpkg = pytest.mark.skipif(bool(unable()), reason=unable())


@given(st.binary(min_size=16, max_size=16), st.integers(0, 1000), st.integers(0, 1000))
def test_a_wider_share_takes_in_all_of_a_narrower_one(device: bytes, one: int, other: int) -> None:
    narrow, wide = (replace(RELEASE, per_mille=each) for each in sorted((one, other)))
    assert takes(wide, device) or not takes(narrow, device)
    assert takes(replace(RELEASE, per_mille=1000), device)
    assert not takes(replace(RELEASE, per_mille=0), device)


def test_a_release_that_fits_is_taken() -> None:
    check_release(RELEASE, "s", TARGET)
    assert release_target("linux", architecture_of("x86_64")) == TARGET


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"school_id": "other"}, "wrong-school"),
        ({"architecture": "arm64"}, "altered-target"),
        ({"platform": "win32"}, "altered-target"),
        ({"version": "1 --force"}, "malformed"),
        ({"version": "-1"}, "malformed"),
        ({"version": ""}, "malformed"),
        ({"package_sha256": b""}, "malformed"),
        ({"files_sha256": b"x"}, "malformed"),
        ({"salt": b""}, "malformed"),
        ({"package_length": 0}, "malformed"),
        ({"package_length": 1 << 40}, "malformed"),
        ({"per_mille": 1001}, "malformed"),
    ],
)
def test_a_release_that_does_not_is_refused(changed: dict[str, object], reason: str) -> None:
    with pytest.raises(TrustRefused) as refused:
        check_release(replace(RELEASE, **changed), "s", TARGET)  # type: ignore[arg-type]
    assert refused.value.reason == reason


def test_officers_read_what_would_be_installed_and_where() -> None:
    said = release_words(RELEASE)
    assert "the agent 0.1.1+lab for linux-amd64 is installed on 5 % of these devices" in said
    assert RELEASE.package_sha256.hex() in said


def _said(*states: str, sha256: bytes = b"p" * 32) -> list[tuple[int, model.AgentUpdate]]:
    return [
        (device, model.AgentUpdate(state=state, package_sha256=sha256)) for device, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "halts"),
    [
        (["succeeded"] * 10, False),
        (["succeeded"] * 9 + ["rolled-back"], True),
        (["succeeded"] * 10 + ["rolled-back"], False),
        (["stuck"], True),
        (["refused"] * 5 + ["started"] * 5, False),
        ([], False),
    ],
)
def test_one_in_ten_that_went_back_halts(states: list[str], halts: bool) -> None:
    assert standing_of(_said(*states), b"p" * 32).too_bad is halts


def test_a_device_counts_once_by_what_it_said_last_and_other_packages_do_not() -> None:
    said = [
        *_said("started"),
        *_said("installed"),
        *_said("succeeded"),
        *_said("rolled-back", sha256=b"o" * 32),
    ]
    assert standing_of(said, b"p" * 32) == Standing(succeeded=1)


@needs_dpkg
def test_a_package_is_read_without_dpkg(tmp_path: Path) -> None:
    dpkg = SmallDpkg(tmp_path / "dpkg").make()
    with pytest.raises(DebError, match=r"holds no \./usr/lib"):
        read_agent_package(dpkg.build("1.0"))
    tree = tmp_path / "dpkg/tree-1.0"
    (tree / "usr/lib/schoolkeeper-agent").mkdir(parents=True)
    (tree / "usr/lib/schoolkeeper-agent/files.sha256").write_text("listed\n")
    for how in ("gzip", "xz"):
        made = tmp_path / f"{how}.deb"
        subprocess.run(["dpkg-deb", f"-Z{how}", "--build", tree, made], check=True, capture_output=True)
        found = read_agent_package(made)
        assert (found.version, found.architecture, found.length) == ("1.0", "all", made.stat().st_size)
    other = tmp_path / "other.deb"
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("schoolkeeper-agent", "another"))
    subprocess.run(["dpkg-deb", "--build", tree, other], check=True, capture_output=True)
    with pytest.raises(DebError, match="the package 'another'"):
        read_agent_package(other)


@pytest.mark.parametrize("content", [b"", b"MZ", b"!<arch>\n", b"!<arch>\n" + b"x" * 200])
def test_what_is_no_package_is_named(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "agent.deb"
    place.write_bytes(content)
    with pytest.raises(DebError, match=r"agent\.deb is not a package of the agent"):
        read_agent_package(place)


def test_a_package_that_devices_went_back_from_is_handed_out_no_more_until_somebody_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [*_said("succeeded")]
    monkeypatch.setattr(gates, "read_standing", lambda *_: standing_of(said, RELEASE.package_sha256))
    store = cast(Store, SimpleNamespace(read=lambda: nullcontext(None)))
    (tmp_path / "collector").mkdir()
    packages = Packages(tmp_path / "collector")
    (tmp_path / "agent.deb").write_bytes(b"package")
    packages.keep(tmp_path / "agent.deb", RELEASE.package_sha256)
    name, gate = package_name(RELEASE), gates.Gate(packages, store, "s")
    gate.look(RELEASE.package_sha256, 0)
    said.append((7, model.AgentUpdate(state="rolled-back", package_sha256=RELEASE.package_sha256)))
    gate.look(RELEASE.package_sha256, 1)
    assert packages.path_of(name).read_bytes() == b"package", "looked at twice a minute at most"
    gate.look(RELEASE.package_sha256, gates.LOOK_MS)
    with pytest.raises(Halted, match="1 of 2 devices that installed it went back"):
        packages.path_of(name)
    packages.resume(RELEASE.package_sha256)
    assert packages.path_of(name).is_file()
