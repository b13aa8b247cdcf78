"""The register of assessed technology in a pack: each entry whole, none twice, overdue reviews said."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.parse import load_pack
from support.language import app, opened, pack

ENTRY = {
    "application": "org.gimp.GIMP",
    "assessed_by": "computing lead",
    "assessed_on": "2026-09-01",
    "outcome": "allowed",
    "review": "2027-09-01",
}


def entries(*changes: dict[str, str | None]) -> str:
    """The section of a pack with one entry for each set of changes; None takes a key away."""
    text = "assessments:\n"
    for change in changes:
        kept = {name: value for name, value in (ENTRY | change).items() if value is not None}
        text += "  -\n" + "".join(f"    {name}: {value}\n" for name, value in kept.items())
    return text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"application": None}, "give either 'application' or 'site'"),
        ({"site": "example.org"}, "give either 'application' or 'site'"),
        ({"assessed_by": None}, "assessed_by"),
        ({"assessed_on": None}, "assessed_on"),
        ({"outcome": "maybe"}, "outcome"),
        ({"outcome": "limited"}, "'limits' belongs to the outcome 'limited'"),
        ({"limits": "year 6 only"}, "'limits' belongs to the outcome 'limited'"),
        ({"review": "2026-09-01"}, "the review must be after the assessment"),
    ],
)
def test_an_entry_that_is_not_whole_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, str | None], said: str
) -> None:
    result = CliRunner().invoke(cli, ["check", str(pack(tmp_path, entries(change)))])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "part0.yaml:" in result.output


def test_the_same_technology_twice_is_a_mistake_whatever_its_capitals(tmp_path: Path) -> None:
    folder = pack(tmp_path, entries({}), entries({"application": "org.gimp.gimp", "outcome": "refused"}))
    result = CliRunner().invoke(cli, ["check", str(folder)])
    assert result.exit_code == 1
    assert "part1.yaml:" in result.output
    assert "'org.gimp.gimp' is already assessed, in" in " ".join(result.output.split())


def test_an_overdue_review_is_said_with_file_line_and_column_and_stops_nothing(tmp_path: Path) -> None:
    chat = {"application": None, "site": "chat.example", "outcome": "limited", "limits": "staff only"}
    folder = pack(tmp_path, entries({}, {**chat, "review": "2026-11-21"}))
    assert [one.about for one in load_pack(folder).assessments] == ["org.gimp.GIMP", "chat.example"]
    told = [str(one) for one in advise(folder, date(2026, 11, 22)) if "assessed" in str(one)]
    reason = "'chat.example' was to be assessed again by 2026-11-21"
    assert told == [f"mine/part0.yaml:12:13: {reason}; assess it again, and set the next day"]
    assert not any("assessed" in str(one) for one in advise(folder, date(2026, 11, 21)))
    shown = CliRunner().invoke(cli, ["check", str(folder)])
    assert shown.exit_code == 0, shown.output
    early = [str(one) for one in advise(folder, date(2026, 8, 31))]
    assert sum("yet to come" in one for one in early) == 2


def test_the_register_is_for_people_and_reaches_no_device(tmp_path: Path) -> None:
    held = opened(pack(tmp_path, entries({"application": "zz-only-here"}), "applications:\n" + app()), "ks1")
    assert "zz-only-here" not in repr(held)
    assert held.applications is not None
    assert held.applications.rules[0].text.rule_id in repr(held), "what does reach it would be found"
