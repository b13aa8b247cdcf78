"""A weaker safeguarding rule: what it must bring, and who refuses it without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import record, signing
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.record import Assessment, RecordError
from schoolkeeper_policies.officer.review import review
from schoolkeeper_policies.officer.staged import read_folder
from schoolkeeper_proto import trust
from support.officers import EDUCATIONAL, TECHNICAL, pack_with, publish, reasons, stage_pack
from support.school import GROUP, School, wall_ms


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    """A school that enforces the rule in version 2."""
    folder = tmp_path_factory.mktemp("school")
    made = School(folder / "collector")
    publish(made, stage_pack(made, pack_with(folder, "enforce")), "technician", "dsl")
    yield made
    made.close()


@pytest.fixture
def school(template: School, tmp_path: Path) -> School:
    return copied(template, tmp_path)


def copied(template: School, tmp_path: Path) -> School:
    from schoolkeeper_collector.school.repository import Repository

    folder = tmp_path / "collector"
    shutil.copytree(template.folder, folder)
    copy = object.__new__(School)
    copy.__dict__.update(template.__dict__)
    copy.folder, copy.repository = folder, Repository(folder)
    return copy


def test_stage_names_everything_that_is_missing_and_stages_nothing(school: School, tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        stage_pack(school, pack_with(tmp_path, "observe"))
    said = str(caught.value)
    for needed in ("--why", "--technical-assessment", "--educational-assessment", "--consent-by head"):
        assert needed in said
    assert f"{GROUP}: tests.minefield" in said
    assert staging.read_waiting(school.folder, wall_ms()) is None


@pytest.mark.requirement("W-76", "T-40")
@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({"why": " "}, "a reason"),
        ({"technical": None}, "technical risk assessment"),
        ({"educational": None}, "educational risk assessment"),
        ({"consent": None}, "leadership's consent"),
        ({"technical": Assessment(by="technician", text="fine")}, "at least 40 characters"),
        ({"technical": Assessment(by="dsl", text=TECHNICAL)}, "'dsl' is no technical officer"),
        ({"educational": Assessment(by="technician", text=EDUCATIONAL)}, "'technician' is no safeguarding"),
        ({"consent": Assessment(by="dsl", text="yes")}, "'dsl' is not of the leadership"),
    ],
)
def test_each_of_them_is_needed(
    school: School, tmp_path: Path, lacking: dict[str, object], said: str
) -> None:
    with pytest.raises(RecordError, match="weakens a safeguarding rule") as caught:
        stage_pack(school, pack_with(tmp_path, "observe"), reasons(**lacking))
    assert said in str(caught.value)


@pytest.mark.requirement("W-17", "W-76", "T-40")
def test_it_is_published_once_everybody_named_has_signed(school: School, tmp_path: Path) -> None:
    folder = stage_pack(school, pack_with(tmp_path, "observe"), reasons())
    with pytest.raises(RecordError, match="the signature of head"):
        publish(school, folder, "technician", "dsl")
    assert school.repository.current().bundles[GROUP][1] == 2
    done = publish(school, folder, "head")
    assert done.bundles[GROUP][1] == 3
    entries = staging.change_log(school.folder)
    assert [entry.number for entry in entries] == [2, 3]
    last = entries[-1]
    assert (last.why, last.staged_by) == ("A project of year 6.", "it")
    assert [given.by for given in (last.technical, last.educational, last.consent) if given] == [
        "technician", "dsl", "head"
    ]  # fmt: skip
    assert [(line.rule_id, line.direction, line.safeguarding) for line in last.changes] == [
        ("tests.minefield", "weaker", True)
    ]


def test_an_officer_refuses_a_weakening_that_a_collector_slipped_through(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector's own gate is off: the officer's program computes the plan itself and does not sign."""
    with monkeypatch.context() as patch:
        patch.setattr(record, "missing", lambda *_: ())
        folder = stage_pack(school, pack_with(tmp_path, "observe"))
    with pytest.raises(signing.SigningError, match="technical risk assessment"):
        signing.sign_staged(folder, school.officer("technician"))
    for name in ("technician", "dsl"):
        path = folder / "targets.json"
        path.write_bytes(signing.sign_metadata(path.read_bytes(), school.officer(name), None))
    with pytest.raises(RecordError, match="lacks"):
        staging.publish_staged(school.folder, school.keys, wall_ms())


def test_an_entry_that_says_less_than_the_bundles_do_is_refused(school: School, tmp_path: Path) -> None:
    folder = stage_pack(school, pack_with(tmp_path, "observe"), reasons())
    found = read_folder(folder)
    view = trust.unchecked_targets(found.targets)
    old = found.target(record.TARGET, view.targets[record.TARGET].sha256)
    assert old is not None
    quiet = record.write(replace(record.read(old), changes=()))
    document = json.loads(found.targets)
    document["signed"]["targets"][record.TARGET] = {
        "length": len(quiet), "hashes": {"sha256": trust.sha256(quiet).hex()}
    }  # fmt: skip
    files = found.files | {
        "targets.json": json.dumps(document).encode(),
        f"targets/{trust.target_file_name(record.TARGET, trust.sha256(quiet).hex())}": quiet,
    }
    memory = Memory(root_sha256=trust.sha256(found.roots[0]))
    with pytest.raises(trust.TrustRefused, match="something else than the bundles"):
        review(replace(found, files=files), memory, wall_ms())


def test_a_stricter_change_needs_no_assessment(school: School, tmp_path: Path) -> None:
    folder = stage_pack(school, pack_with(tmp_path, "observe"), reasons())
    publish(school, folder, "technician", "dsl", "head")
    folder = stage_pack(school, pack_with(tmp_path, "enforce"))
    assert publish(school, folder, "second-technician", "dsl").bundles[GROUP][1] == 4


@pytest.mark.requirement("T-40")
def test_the_change_log_is_one_chain(school: School, tmp_path: Path) -> None:
    entries = staging.change_log(school.folder)
    assert [entry.number for entry in entries] == [2]
    target = next((school.folder / "trust" / "targets").glob("*.change-log"))
    data = bytearray(target.read_bytes())
    data[-2] ^= 1
    target.write_bytes(bytes(data))
    with pytest.raises(RecordError, match="altered or missing"):
        staging.change_log(school.folder)
