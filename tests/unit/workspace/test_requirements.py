"""The record of which test proves which demand."""

import json
from pathlib import Path

import pytest

from support.requirements import Evidence, Requirement, RequirementError, check_ids, load

KNOWN = {"T-44": Requirement(id="T-44", kinds=("enforce",), title="Removable media")}


def test_the_shipped_rows_can_be_read() -> None:
    rows = load()
    assert len(rows) > 180
    assert rows["T-44"].kinds == ("enforce", "event")
    assert {"T-U01", "PR-W3a", "W-117"} <= rows.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: T-1 title}", "requirements.yaml:1: not of the form"),
        (
            "# fine\n- {id: T-01, kinds: [log], title: 'a'}\n- {id: T-01, kinds: [log], title: 'b'}",
            ":3: T-01 stands",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(text)
    with pytest.raises(RequirementError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("ids", "message"), [((), "without an id"), (("t44",), "no id"), (("T-99",), "not in tests")]
)
def test_a_wrong_mark_is_refused_with_the_test_and_the_remedy(ids: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequirementError, match=f"test_x.*{message}"):
        check_ids(ids, KNOWN, test="test_x")


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([], "untested"),
        (["skipped"], "skipped"),
        (["skipped", "passed"], "proved"),
        (["passed", "failed"], "failed"),
    ],
)
def test_one_failure_outweighs_what_passed_and_a_skip_proves_nothing(outcomes: list[str], state: str) -> None:
    evidence = Evidence()
    for number, outcome in enumerate(outcomes):
        evidence.note(["T-44"], test=f"test_{number}", outcome=outcome)
    assert evidence.state("T-44") == state


def test_a_failed_tear_down_is_not_hidden_by_the_call_that_passed() -> None:
    evidence = Evidence()
    for outcome in ("passed", "failed", "passed"):
        evidence.note(["T-44"], test="test_x", outcome=outcome)
    assert evidence.state("T-44") == "failed"


def test_the_file_lists_every_row_also_those_without_a_test(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "proved.json"
    Evidence().write(path, KNOWN, whole_suite=True)
    assert json.loads(path.read_text())["rows"][0]["state"] == "untested"
