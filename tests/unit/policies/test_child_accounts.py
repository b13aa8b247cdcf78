"""Accounts that the school makes for children below a provider's age: none without the leadership's record (W-46)."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.parse import load_pack
from support.language import bundle, pack

ENTRY = {
    "provider": "Padlet Ltd",
    "age_limit": "13",
    "person": "P1",
    "reason": "A project of year 6.",
    "approved_by": "head",
    "approved_on": "2026-10-01",
    "review": "2027-07-20",
}


def with_entry(tmp_path: Path, **changes: str | None) -> Path:
    kept = {name: value for name, value in (ENTRY | changes).items() if value is not None}
    lines = "\n".join(f"      {name}: {value}" for name, value in kept.items())
    return pack(tmp_path, f"people:\n  child_accounts:\n    -\n{lines}\n")


@pytest.mark.requirement("W-46")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"approved_by": None}, "approved_by"),
        ({"approved_on": None}, "approved_on"),
        ({"reason": None}, "reason"),
        ({"review": None}, "review"),
        ({"approved_by": "staff"}, "approved_by"),
        ({"approved_by": "technician"}, "approved_by"),
        ({"review": "2026-10-01"}, "the review must be after the approval"),
    ],
)
def test_a_record_without_the_leaderships_approval_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    result = CliRunner().invoke(cli, ["check", str(with_entry(tmp_path, **changes))])
    assert result.exit_code == 1
    assert said in result.output
    assert "part0.yaml:" in result.output


@pytest.mark.requirement("W-46")
def test_the_register_is_kept_in_the_pack_and_no_device_hears_of_it(tmp_path: Path) -> None:
    folder = with_entry(tmp_path)
    assert CliRunner().invoke(cli, ["check", str(folder)]).exit_code == 0
    people = load_pack(str(folder)).people
    assert people is not None
    (held,) = people.child_accounts
    assert (held.provider, held.age_limit, held.approved_by) == ("Padlet Ltd", 13, "head")
    assert b"Padlet" not in bundle(folder, "ks2")
    assert CliRunner().invoke(cli, ["check", "westgate-primary"]).exit_code == 0
    westgate = load_pack("westgate-primary").people
    assert westgate is None or westgate.child_accounts == (), (
        "none is allowed until the leadership records one"
    )
