"""The outsider's attacks on publications (`trust_attacks.md`), on a real published school and a real device's trust.

Each attack rewrites files of the mirror with the keys it is said to hold; what must follow is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from support import outsider_acts as acts
from support.outsider import Mirror, Scene, copy_of
from support.outsider_acts import BOTH, Act, Given
from support.school import School

pytestmark = [pytest.mark.timeout(300), pytest.mark.requirement("W-17")]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """A school at its second publication, and a device that has it."""
    folder = tmp_path_factory.mktemp("attacked")
    school = School(folder / "collector")
    scene = Scene(school, folder / "device", Mirror.of(school.folder))
    scene.enrol()
    yesterday = scene.mirror.files
    scene.publish()
    scene.honest()
    assert scene.update().changed
    yield Given(scene, yesterday)
    school.close()


class Then(StrEnum):
    """What lets the school go on afterwards."""

    PUBLISHES = "the next publication"
    NEW_ONLINE_KEY = "a new online key"
    NOTHING = "nothing: the root's own signers went astray"


@dataclass(frozen=True)
class Attack:
    """``reasons``: any of these words; where two checks would refuse it, either may be first."""

    name: str
    act: Act
    reasons: frozenset[str]
    then: Then


def attack(name: str, act: Act, *reasons: str, then: Then = Then.PUBLISHES) -> Attack:
    return Attack(name, act, frozenset(reasons), then)


ATTACKS = [
    attack("arbitrary-software", acts.one_bit, "altered-target"),
    attack("arbitrary-software:another-bundle", acts.arbitrary_software, "altered-target"),
    attack("arbitrary-software:key-statement", acts.arbitrary_keys, "altered-target"),
    attack("arbitrary-targets", acts.arbitrary_targets, "signature"),
    attack("rollback-timestamp", acts.rollback_timestamp, "rollback"),
    attack("rollback-snapshot", acts.rollback_snapshot, "rollback"),
    attack("rollback-targets", acts.rollback_targets, "rollback"),
    attack("rollback-targets:renumbered", acts.old_targets_under_a_new_number, "rollback"),
    attack("rollback-root", acts.rollback_root, "rollback"),
    attack("root-skips-a-version", acts.root_skips_a_version, "rollback"),
    attack("mix-and-match-bundle", acts.mix_and_match_bundle, "altered-target"),
    attack("mix-and-match-snapshot", acts.mix_and_match_snapshot, "altered"),
    attack(
        "missing-targets-in-snapshot", acts.missing_targets_in_snapshot, "refused", "malformed", "rollback"
    ),
    attack(
        "missing-targets-in-snapshot:groups",
        acts.missing_groups_in_snapshot,
        "refused",
        "malformed",
        "rollback",
    ),
    attack("wrong-group-bundle", acts.wrong_group_bundle, "altered-target"),
    attack("relabelled-group", acts.relabelled_by("technician"), "no-safeguarding-signature"),
    attack("relabelled-group:by-both", acts.relabelled_by(*BOTH), "wrong-group"),
    attack("another-school", acts.claims_another_school, "signature"),
    attack("endless-data:timestamp", acts.endless_timestamp, "altered", "too-long"),
    attack("endless-data:root", acts.endless_root, "altered", "too-long"),
    attack("endless-bundle", acts.endless_bundle, "altered-target", "too-long"),
    attack("signature-flood", acts.signature_flood, "signature"),
    attack("compromise-below-threshold", acts.signed_by("technician"), "no-safeguarding-signature"),
    attack("compromise-below-threshold:dsl", acts.signed_by("dsl"), "no-technical-signature"),
    attack("one-signature-twice", acts.one_signature_twice, "no-safeguarding-signature"),
    attack("one-key-two-ids", acts.one_key_again(lambda text: text), "key-twice"),
    attack("one-key-two-encodings:capitals", acts.one_key_again(str.upper), "key-twice"),
    attack(
        "one-key-two-encodings:spaces", acts.one_key_again(lambda t: " ".join(t)), "key-twice", "malformed"
    ),
    attack("one-person-two-keys", acts.one_person_two_keys, "one-person", then=Then.NOTHING),
    attack(
        "two-technical-none-safeguarding",
        acts.signed_by("technician", "second-technician"),
        "no-safeguarding-signature",
    ),
    attack("two-safeguarding-none-technical", acts.signed_by("dsl", "head"), "no-technical-signature"),
    attack("officer-names-own-duty", acts.officer_names_own_duty, "no-safeguarding-signature"),
    attack("old-root-threshold", acts.old_root_threshold, "signature"),
    attack("root-below-threshold", acts.root_below_threshold, "signature", "too-few-signatures"),
    attack("root-threshold-zero", acts.root_threshold("targets", 0), "threshold"),
    attack("root-threshold-zero:one", acts.root_threshold("targets", 1), "threshold"),
    attack("root-threshold-zero:negative", acts.root_threshold("root", -1), "threshold"),
    attack("root-threshold-zero:true", acts.root_threshold("targets", True), "threshold", "malformed"),
    attack("role-confusion", acts.snapshot_as_timestamp, "malformed", "refused"),
    attack("role-confusion:groups-as-targets", acts.groups_as_targets, "signature"),
    attack("non-canonical-json", acts.reindented_targets, "altered"),
    attack("duplicate-json-keys:evil-first", acts.duplicate_signed(True), "malformed", "signature"),
    attack("duplicate-json-keys:evil-last", acts.duplicate_signed(False), "malformed", "signature"),
    attack("duplicate-json-keys:within", acts.duplicate_version, "malformed", "signature"),
    attack("malformed-metadata:empty", acts.malformed(b""), "malformed", "refused"),
    attack("malformed-metadata:not-utf-8", acts.malformed(b'{"signed": "\xff\xfe"}'), "malformed", "refused"),
    attack("malformed-metadata:list", acts.malformed(b"[]"), "malformed", "refused"),
    attack(
        "malformed-metadata:null",
        acts.malformed(b'{"signed": null, "signatures": null}'),
        "malformed",
        "refused",
    ),
    attack("malformed-metadata:deep", acts.malformed(b"[" * 10_000), "malformed", "refused"),
    attack(
        "malformed-metadata:deep-root",
        acts.malformed(b'{"a":' * 200_000, "metadata/2.root.json"),
        "malformed",
    ),
    attack(
        "malformed-metadata:root-of-lists",
        acts.malformed(b'{"signed":[],"signatures":[]}', "metadata/2.root.json"),
        "malformed",
    ),
    attack("malformed-metadata:number", acts.malformed(b"1e999"), "malformed", "refused"),
    attack(
        "malformed-metadata:surrogate",
        acts.malformed(b'{"signatures":[{"keyid":"\\ud800","sig":"0"}],"signed":{"_type":"timestamp"}}'),
        "malformed",
        "refused",
    ),
    attack("oversized-numbers:5000-digits", acts.long_number, "malformed", "refused"),
    attack("oversized-numbers:negative", acts.timestamp_with(version=-3), "malformed", "refused", "rollback"),
    attack("oversized-numbers:true", acts.timestamp_with(version=True), "malformed", "refused", "rollback"),
    attack("oversized-numbers:text", acts.timestamp_with(version="9"), "malformed", "refused", "rollback"),
    attack(
        "oversized-numbers:year", acts.timestamp_with(expires="99999-01-01T00:00:00Z"), "malformed", "refused"
    ),
    attack("oversized-numbers:length", acts.bundle_entry(length=-1), "malformed", "refused"),
    attack(
        "path-traversal",
        acts.traversal_by_officers,
        "wrong-group",
        "malformed",
        "group-move",
        "no-target",
        then=Then.NEW_ONLINE_KEY,
    ),
    attack(
        "path-traversal:group",
        acts.into_group("../../keys"),
        "no-target",
        "wrong-group",
        "malformed",
        "group-move",
        then=Then.NEW_ONLINE_KEY,
    ),
    attack(
        "path-traversal:nul",
        acts.into_group("ks2\x00laptops"),
        "no-target",
        "wrong-group",
        "malformed",
        "group-move",
        then=Then.NEW_ONLINE_KEY,
    ),
    attack(
        "path-traversal:nothing",
        acts.into_group(""),
        "no-target",
        "wrong-group",
        "malformed",
        "group-move",
        then=Then.NEW_ONLINE_KEY,
    ),
    attack(
        "hash-confusion:md5-in-snapshot",
        acts.snapshot_entry(hashes={"md5": "0" * 32}),
        "altered",
        "malformed",
        "refused",
        "no-safeguarding-signature",
    ),
    attack(
        "hash-confusion:none-in-snapshot",
        acts.snapshot_entry(hashes={}),
        "altered",
        "malformed",
        "refused",
        "no-safeguarding-signature",
    ),
    attack("hash-confusion:md5-of-the-bundle", acts.bundle_entry(hashes={"md5": "0" * 32}), "malformed"),
    attack(
        "hash-confusion:half-a-hash",
        acts.bundle_entry(hashes={"sha256": "00"}),
        "altered-target",
        "malformed",
        "no-target",
    ),
    attack("scheme-confusion", acts.key_of_another_kind(scheme="rsassa-pss-sha256"), "malformed"),
    attack("scheme-confusion:type", acts.key_of_another_kind(keytype="ecdsa"), "malformed"),
    attack("delegated-outsider", acts.delegated_outsider, "no-safeguarding-signature"),
    attack("delegated-outsider:online-role", acts.outside_the_role, "outside-role", then=Then.NEW_ONLINE_KEY),
    attack("group-map-duplicates", acts.group_map_duplicates, "malformed", then=Then.NEW_ONLINE_KEY),
    attack("malformed-metadata:map", acts.garbage_map, "malformed", then=Then.NEW_ONLINE_KEY),
    attack("malformed-metadata:bundle", acts.garbage_bundle, "malformed"),
    attack("group-map:another-school", acts.map_of_another_school, "wrong-school", then=Then.NEW_ONLINE_KEY),
    attack("revoked-officer", acts.revoked_officer, "no-safeguarding-signature"),
]


METADATA = ("map", "groups.json", "targets.json", "snapshot.json", "timestamp.json", "current")
"""What is taken although a move is refused: signed lists, and the pointer to the set that they came with."""


@pytest.mark.parametrize("made", ATTACKS, ids=lambda made: made.name)
def test_refused(made: Attack, given: Given, tmp_path_factory: pytest.TempPathFactory) -> None:
    scene = copy_of(given.template, tmp_path_factory.mktemp("one"))
    made.act(scene, given)
    before = scene.in_force_bytes()
    for again in ("", "the same again, as after a restart"):
        update = scene.update()
        assert update.refused in made.reasons, (again, update)
        check_message(update.message)
        assert not update.changed or update.refused == "group-move"
    after = scene.in_force_bytes()
    if update.refused == "group-move":
        # What else was signed is taken, so that ordering a move keeps no device from its own group's rules.
        assert after.pop("kept-group") == b"ks2-laptops"
        before, after = ({k: v for k, v in held.items() if k not in METADATA} for held in (before, after))
    assert after == before, "the policy in force stays, byte for byte"
    held = scene.contents()
    for name, data in held.items():
        assert data not in scene.mirror.evil, f"{name} holds what was refused"
    assert not [name for name in held if "/." in name or name.endswith((".new", ".tmp"))], (
        "nothing half written"
    )
    beside = {path.name for path in scene.state_dir.parent.iterdir()}
    assert beside <= {"collector", "device", "other-school"}, "nothing outside the device's folder"
    if made.then is Then.NEW_ONLINE_KEY:
        acts.rotates_the_online_key(scene)
    if made.then is not Then.NOTHING:
        scene.recovers()


def check_message(message: str) -> None:
    """Words for a technician: neither a traceback nor an exception's name alone."""
    assert len(message) > 20, message
    assert "Traceback" not in message
    assert "ended early" not in message


ELSEWHERE = {
    "fast-forward": "in_steps", "freeze": "in_steps", "slow-retrieval": "in_steps",
    "expired-metadata-wall-clock": "in_steps", "clock-forward": "in_steps", "split-view-map": "in_steps",
    "hostile-rollout-stage": "in_steps", "rollback-by-another-group": "in_steps",
    "move-without-a-list": "in_steps", "longer-list-of-moves": "in_steps", "signed-move-reused": "in_steps",
    "replayed-grant": "grants", "forged-grant": "grants", "widened-grant": "grants", "grant-for-another": "grants",
    "revoked-officer-grant": "grants", "expired-command": "grants",
    "poisoned-cache": "independent",
}  # fmt: skip
"""Classes without an act of their own here; a poisoned cache is what every recovery of this module looks for."""


def test_every_class_of_the_list_is_carried_out() -> None:
    """Prints the table (``pytest -s``): class, ways it is tried, reasons, what lets the school go on."""
    folder = Path(__file__).parent
    rows = (folder / "trust_attacks.md").read_text().split("## What was found")[0].splitlines()
    listed = [row.split("|")[1].strip() for row in rows if row.startswith("| ")]
    classes = [name for name in listed if name not in ("class", "---")]
    acted = {made.name.partition(":")[0] for made in ATTACKS}
    assert len(classes) == len(set(classes)) >= 15
    assert set(classes) - acted - ELSEWHERE.keys() == set()
    for name in classes:
        ways = [made for made in ATTACKS if made.name.partition(":")[0] == name]
        words = sorted(set[str]().union(*(made.reasons for made in ways)))
        file = ELSEWHERE.get(name, "independent")
        assert (folder / f"test_trust_attacks_{file}.py").exists()
        print(f"{name:34} {len(ways) or '-':>2}  {', '.join(words) or 'see test_trust_attacks_' + file}")
