"""The agent's files are held against the list whose hash the officers signed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from schoolkeeper_agent.updating.signed_files import HOME, SUMS, finding, signed_files
from schoolkeeper_proto.model import PostureResult

PASS = b"pass\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An installed package of two files."""
    home = tmp_path / HOME
    home.mkdir(parents=True)
    (home / "core.py").write_text("pass\n")
    (home / "other.py").write_text("pass\n")
    digest = hashlib.sha256(b"pass\n").hexdigest()
    (home / "files.sha256").write_text(f"{digest}  {HOME}/core.py\n{digest}  {HOME}/other.py\n")
    return tmp_path


def _listed(root: Path) -> bytes:
    return hashlib.sha256((root / HOME / "files.sha256").read_bytes()).digest()


@pytest.mark.requirement("T-12")
def test_files_as_signed_pass_and_a_changed_or_missing_one_is_named(root: Path) -> None:
    signed = _listed(root)
    found = signed_files(root, signed, "2.0")
    assert (found.result, found.evidence) == (
        PostureResult.PASS,
        "2 files as the officers signed them for 2.0",
    )
    (root / HOME / "core.py").write_text("import os\n")
    (root / HOME / "other.py").unlink()
    found = signed_files(root, signed, "2.0")
    assert found.result is PostureResult.FAIL
    assert found.evidence == f"{HOME}/core.py was changed; {HOME}/other.py is missing"


def test_whoever_edits_the_list_as_well_is_found(root: Path) -> None:
    signed = _listed(root)
    (root / HOME / "core.py").write_text("import os\n")
    digest = hashlib.sha256(b"import os\n").hexdigest()
    (root / HOME / "files.sha256").write_text(f"{digest}  {HOME}/core.py\n")
    found = signed_files(root, signed, "2.0")
    assert found.result is PostureResult.FAIL
    assert "not the one that the officers signed" in found.evidence
    (root / HOME / "files.sha256").unlink()
    assert signed_files(root, signed, "2.0").result is PostureResult.FAIL


def test_without_a_release_dpkg_s_own_list_is_what_there_is(root: Path) -> None:
    assert finding(root, root / "state").result is PostureResult.UNKNOWN
    sums = root / SUMS
    sums.parent.mkdir(parents=True)
    sums.write_text(f"{hashlib.md5(PASS).hexdigest()}  {HOME}/core.py\n")
    assert finding(root, root / "state").result is PostureResult.PASS
