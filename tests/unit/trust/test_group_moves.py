"""New groups and moves between groups: what is compared with what, and which moves officers must sign."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.devices import fleet
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_policies.comparing import moves as comparing
from schoolkeeper_policies.officer import group_moves, words
from schoolkeeper_policies.officer.record import RecordError
from schoolkeeper_policies.officer.review import Review
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_proto import moves, policy, trust
from schoolkeeper_proto.bundle import OpenBundle
from support.officers import publish, reasons
from support.rollouts import add_device
from support.school import DAY_MS, GROUP, OTHER_GROUP, School, wall_ms

DEVICE = bytes(range(16))


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    made = School(tmp_path_factory.mktemp("school") / "collector")
    yield made
    made.close()


def bundle(school: School, group: str, pack: str = "default") -> OpenBundle:
    data = compile_bundle(pack, school.keys, group=group, version=1, now_ms=school.made_ms)
    return open_whole(data, school.school_id, group)


def stage_new(school: School, group: str, pack: str, said: staging.Reasons | None = None) -> Review:
    data = compile_bundle(pack, school.keys, group=group, version=1, now_ms=wall_ms())
    staging.stage(school.folder, school.keys, {trust.bundle_target(group): data}, wall_ms(), reasons=said)
    found = staging.read_waiting(school.folder, wall_ms())
    assert found is not None
    return found[1]


@pytest.mark.requirement("W-76")
def test_a_new_group_weaker_than_every_other_needs_both_assessments_and_consent(school: School) -> None:
    with pytest.raises(RecordError, match="weakens a safeguarding rule") as caught:
        stage_new(school, "laboratory", "demo")
    assert "--technical-assessment" in str(caught.value)
    seen = stage_new(school, "laboratory", "demo", reasons())
    (change,) = seen.bundles
    assert (change.from_version, change.against) == (0, OTHER_GROUP)
    assert {c.rule_id for c in seen.weakening} >= {"sites.illegal", "bypass.tor"}
    assert f"new  bundles/laboratory: version 1, compared with {OTHER_GROUP}" in "\n".join(
        words.review_text(seen)
    )
    assert seen.record is not None
    assert [step.against for step in seen.record.bundles] == [OTHER_GROUP]


def test_a_new_group_like_one_in_force_needs_no_assessment_and_officers_read_who_may_come(
    school: School,
) -> None:
    seen = stage_new(school, "ks3-laptops", "default")
    assert (seen.bundles[0].against, seen.weakening, seen.lacks) == (GROUP, (), ())
    said = "\n".join(seen.other)
    assert f"may move devices of {GROUP}, {OTHER_GROUP} to ks3-laptops" in said
    assert f"may move devices of ks3-laptops to {GROUP}" in said
    assert f"to {OTHER_GROUP}" not in said, "the pupils' rules do not hold among staff"


def test_default_is_what_a_weaker_new_group_is_compared_with(school: School) -> None:
    held = {group: bundle(school, group) for group in (GROUP, OTHER_GROUP, "default")}
    new = bundle(school, "laboratory", "demo")
    assert comparing.nearest(new, held) == "default"
    del held["default"]
    assert comparing.nearest(new, held) == OTHER_GROUP
    assert comparing.nearest(new, {}) is None


def test_moves_are_free_between_every_bundle_of_a_rollout_or_not_at_all(school: School) -> None:
    strict, lax = bundle(school, GROUP), bundle(school, OTHER_GROUP)

    def free(**held: list[OpenBundle]) -> set[tuple[str, str]]:
        return {(source, to.to_group) for to in comparing.free_moves(held) for source in to.from_groups}

    assert free(a=[strict], b=[strict], c=[lax]) == {("a", "b"), ("b", "a"), ("c", "a"), ("c", "b")}
    # b's devices may still be given the laxer rules, or those of a the stricter ones.
    assert free(a=[strict], b=[strict, lax]) == {("b", "a")}


def test_two_free_moves_never_lead_where_one_may_not_go(
    monkeypatch: pytest.MonkeyPatch, school: School
) -> None:
    held = {name: replace(bundle(school, GROUP), hash=name.encode()) for name in ("a", "b", "c")}
    monkeypatch.setattr(
        comparing, "weaker", lambda old, new: ("lost",) if (old.hash, new.hash) == (b"a", b"c") else ()
    )
    found = {
        (s, to.to_group)
        for to in comparing.free_moves({n: [b] for n, b in held.items()})
        for s in to.from_groups
    }
    assert ("a", "b") in found
    assert not {("a", "c"), ("b", "c")} & found


def test_a_signed_move_is_for_one_device_one_group_and_a_time() -> None:
    listed = policy.GroupMoves(
        school_id="x.example",
        signed=(policy.SignedMove(device_id=DEVICE, to_group="staff", until_unix_ms=1000),),
    )
    assert moves.is_signed(listed, DEVICE, "staff", 999)
    assert not moves.is_signed(listed, DEVICE, "staff", 1000)
    assert not moves.is_signed(listed, DEVICE, "guests", 999)
    assert not moves.is_signed(listed, bytes(16), "staff", 999)
    assert not moves.is_signed(None, DEVICE, "staff", 999)
    assert not moves.is_free(None, "pupils", "staff")
    assert moves.is_free(None, "pupils", "pupils")


def test_a_signed_move_lasts_thirty_days_at_most_and_is_left_out_when_it_ended(school: School) -> None:
    held = {group: [bundle(school, group)] for group in (GROUP, OTHER_GROUP)}
    long = policy.SignedMove(device_id=DEVICE, to_group=OTHER_GROUP, until_unix_ms=40 * DAY_MS)
    made = group_moves.moves_for(held, school.school_id, 0, (long,))
    with pytest.raises(trust.TrustRefused, match="at most 30 days"):
        group_moves.check(made, held, school.school_id, 0)
    assert group_moves.moves_for(held, school.school_id, 41 * DAY_MS, (long,)).signed == ()
    (said,) = group_moves.words(replace(made, signed=()), made)
    assert DEVICE.hex() in said
    assert OTHER_GROUP in said


def test_a_technician_moves_a_device_to_stricter_rules_alone_and_to_weaker_ones_with_officers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = School(tmp_path / "collector")
    with school.store.write() as connection:
        add_device(connection, school, DEVICE, "laptop-7", last_contact_ms=None)
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(make_app(), list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    refused = run("device", "move", "laptop-7", OTHER_GROUP, code=1)
    assert f"stage --allow-move laptop-7={OTHER_GROUP}" in refused
    assert "no signed bundle" in run("device", "move", "laptop-7", "nobody", code=1)
    assert "--why" in run("stage", "--allow-move", f"laptop-7={OTHER_GROUP}", code=1)
    assert "DEVICE=GROUP" in run("stage", "--allow-move", "laptop-7", "--why", "x", code=1)
    run("stage", "--allow-move", f"laptop-7={OTHER_GROUP}", "--why", "The head of year uses it now.")
    found = staging.read_waiting(school.folder, wall_ms())
    assert found is not None
    (said,) = found[1].other
    assert said.startswith(f"the device {DEVICE.hex()} may be moved to {OTHER_GROUP}")
    publish(school, school.folder / "trust" / "staged", "technician", "dsl")
    assert f"from {GROUP} to {OTHER_GROUP}" in run("device", "move", "laptop-7", OTHER_GROUP)
    assert school.repository.group_map().assignments == (
        policy.GroupAssignment(device_id=DEVICE, group=OTHER_GROUP),
    )
    run("device", "move", "laptop-7", GROUP)
    with school.store.read() as connection:
        assert fleet.active_groups(connection, school.school_id) == {DEVICE: GROUP}
    school.close()
