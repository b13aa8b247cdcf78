"""The page of the scenarios lists what the tests are marked with, and each scenario ends with the same check."""

from pathlib import Path

import pytest

from support.lab.usable import NOT_USABLE_WITHOUT_A_LAPTOP, check_scenario
from support.scenarios import PAGE, WRITE, ScenarioError, Tier, page, read_all

MARKED = '@pytest.mark.scenario(tier="{tier}", name="{name}")\ndef test_{function}(laptop): ...\n'


def written(folder: Path, *marks: tuple[str, str]) -> Path:
    for number, (tier, name) in enumerate(marks):
        text = MARKED.format(tier=tier, name=name, function=number)
        (folder / f"test_{number}.py").write_text(text)
    return folder


def test_the_page_is_what_the_marks_say() -> None:
    assert page(read_all()) == PAGE.read_text(), f"{WRITE} writes it anew"


def test_every_marked_test_is_read_and_listed_by_its_tier(tmp_path: Path) -> None:
    found = read_all(written(tmp_path, ("laptop", "a dock"), ("session", "a locker")))
    assert [(one.tier, one.name) for one in found] == [(Tier.SESSION, "a locker"), (Tier.LAPTOP, "a dock")]
    assert "| 1 | a dock | `test_0.py`: `test_0` |" in page(found)


@pytest.mark.parametrize(
    "marks", [(("session", "twice"), ("laptop", "twice")), (("desk", "x"),), (("session", ""),)]
)
def test_a_mark_that_the_page_cannot_list_is_refused_with_its_place(
    tmp_path: Path, marks: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(ScenarioError, match=r"test_\d\.py"):
        read_all(written(tmp_path, *marks))


def test_a_scenario_without_a_laptop_is_no_scenario() -> None:
    with pytest.raises(AssertionError, match=NOT_USABLE_WITHOUT_A_LAPTOP):
        check_scenario({"tmp_path": Path("/")})
