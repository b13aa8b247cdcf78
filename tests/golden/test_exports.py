"""The exported files of one fixed policy, byte for byte: what a school's device management would be handed."""

from pathlib import Path

import pytest

from golden import make_exports
from schoolkeeper_policies.targets.common import Platform
from schoolkeeper_policies.targets.exporters import export
from support.exports import rich_policy

FOLDER = Path(__file__).parent / "targets"
REMEDY = "if the change is meant: python tests/golden/make_exports.py, and read the difference"


@pytest.mark.parametrize("platform", list(Platform))
def test_exported_files_are_what_they_were(platform: Platform) -> None:
    (found,) = export(rich_policy(), [platform])
    held = {str(p.relative_to(FOLDER / platform)): p for p in (FOLDER / platform).rglob("*") if p.is_file()}
    assert sorted(held) == sorted(file.name for file in found.files), REMEDY
    for file in found.files:
        assert file.data == held[file.name].read_bytes(), f"{file.name} differs; {REMEDY}"


def test_the_coverage_table_is_what_it_was() -> None:
    assert make_exports.shown(rich_policy()) == (FOLDER / "coverage.md").read_text(), REMEDY


def test_the_documentation_says_what_the_pack_that_comes_along_does() -> None:
    assert make_exports.document() == make_exports.DOCUMENT.read_text(), REMEDY
