"""What the leadership allows although a row forbids it, where no device sees it: kept with its days (W-51)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.parse import load_pack
from support.language import pack

ENTRY = {
    "id": "photo-project",
    "who": "class 6A",
    "reason": "Photographs of the nature walk.",
    "approved_by": "slt",
    "from": "2026-11-23",
    "until": "2026-11-27",
}
ROW = "      - {id: W-R15, activity: Own telephones, answers: {pupils: unacceptable}, incident_category: phone%s"


def folder(tmp_path: Path, more: str = "", **changes: str | None) -> Path:
    kept = {name: value for name, value in (ENTRY | changes).items() if value is not None}
    entry = ", ".join(f"{name}: {value}" for name, value in kept.items())
    head = "matrices:\n  - id: m\n    title: t\n    rows:\n"
    return pack(tmp_path, head + ROW % f"{more}, exceptions: [{{{entry}}}]}}\n")


def checked(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["check", str(folder)])
    return result.exit_code, result.output


@pytest.mark.requirement("W-51")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({name: None}, name) for name in ("who", "reason", "approved_by", "from", "until")),
        ({"approved_by": "staff"}, "approved_by"),
        ({"until": "2026-11-22"}, "the exception 'photo-project' ends before it begins"),
    ],
)
def test_an_exception_without_its_days_or_the_leaderships_approval_is_refused(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    code, output = checked(folder(tmp_path, **changes))
    assert code == 1
    assert said in output
    assert "part0.yaml:" in output


@pytest.mark.requirement("W-51")
def test_it_is_kept_with_its_days_and_said_when_they_are_over(tmp_path: Path) -> None:
    made = folder(tmp_path)
    assert checked(made)[0] == 0
    (matrix,) = load_pack(str(made)).matrices
    (kept,) = matrix.rows[0].exceptions
    assert (kept.from_, kept.until) == (date(2026, 11, 23), date(2026, 11, 27))

    def over(day: int) -> list[str]:
        found = [str(one) for one in advise(str(made), date(2026, 11, day))]
        return [one for one in found if "photo-project" in one]

    assert over(27) == []
    (said,) = over(28)
    assert "ended on 2026-11-27" in said
    assert "part0.yaml:5:" in said


def test_what_devices_keep_has_its_exceptions_at_the_rule(tmp_path: Path) -> None:
    code, output = checked(folder(tmp_path, ", sites: [games]"))
    assert code == 1
    assert "devices keep the row W-R15" in output
