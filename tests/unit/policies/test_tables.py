"""The school's tables as rules on a device, and the parts of the language that no agent enforces yet."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from schoolkeeper_policies import matrices, model
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto import policy, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granting import Officer, Permitted, check, ground_of
from schoolkeeper_proto.model import DecisionKind, SealingScheme
from support.language import HOUR_MS, MONDAY_10, REGISTER, bundle, decides, opened, pack

# ---- the school's tables -----------------------------------------------------------------------------------------


TABLE = """\
matrices:
  - id: user-actions
    title: User actions
    source: [T-53]
    rows:
      - {id: T-U17, activity: Online gambling, answers: {everybody: unacceptable}, sites: [gambling],
         applications: [gambling]}
      - {id: T-U01, activity: Indecent images, answers: {everybody: unacceptable-and-illegal}, sites: [illegal],
         safeguarding: true, statute: Protection of Children Act 1978}
      - {id: T-U22, activity: Video, answers: {pupils: at-certain-times}, applications: [streaming],
         when: {periods: [lunch], places: [on-site]}}
      - {id: T-U20, activity: Social media, answers: {staff: nominated-users, pupils: with-staff-permission},
         applications: [social], sites: [social], nominated: [nominated-staff], permission: {max_minutes: 45}}
      - {id: T-U19, activity: File sharing, answers: {everybody: acceptable}, applications: [file-sharing]}
      - {id: T-C01, activity: Phones brought to school, answers: {pupils: unacceptable, staff: acceptable}}
"""


@pytest.mark.requirement("T-53")
def test_each_answer_of_a_table_decides_on_the_device_as_it_says(tmp_path: Path) -> None:
    folder = pack(tmp_path, TABLE, people=True)
    held = opened(folder, "library")
    lunch = MONDAY_10 + 2 * HOUR_MS

    def of(name: str, now: int = MONDAY_10, place: str = "on-site") -> list[str]:
        return [decides(held, name, who, now, place) for who in ("ann", "cy", "dee")]

    assert of("pokerth") == ["block", "block", "block"]
    assert of("spotify") == ["block", "allow", "allow"]
    assert of("spotify", lunch) == ["allow", "allow", "allow"]
    assert of("spotify", lunch, "off-site") == ["block", "allow", "allow"]
    assert of("caprine") == ["block", "block", "allow"]
    assert of("qbittorrent") == ["allow", "allow", "allow"]
    rules = {rule.text.rule_id: rule for rule in held.browser.rules}
    illegal = rules["user-actions.t-u01.everybody"]
    assert illegal.decision is DecisionKind.BLOCK_AND_RAISE
    assert illegal.text.safeguarding
    assert illegal.text.source == ("T-U01", "T-53")
    assert {one.name for one in held.browser.categories} == {"gambling", "illegal", "social"}
    assert held.grants is not None
    (bound,) = held.grants.bounds
    assert (bound.kind, bound.rule_ids, bound.max_seconds, bound.duties) == (
        "lesson",
        ("user-actions.t-u20.pupils",),
        45 * 60,
        ("staff",),
    )


def test_a_lesson_opens_what_a_table_allows_with_permission_and_nothing_else(tmp_path: Path) -> None:
    ground = ground_of(opened(pack(tmp_path, TABLE, people=True), "ks2"))
    teacher = Officer(officer_id="teacher", key=b"k" * 32, titles=("staff",))

    def may(rule_id: str, minutes: int) -> bool:
        statement = wire.GrantStatement(
            school_id="s",
            grant_id=b"g" * 16,
            groups=("ks2",),
            rule_ids=(rule_id,),
            kind=wire.GrantKind.LESSON,
            not_before_unix_ms=MONDAY_10,
            expires_unix_ms=MONDAY_10 + minutes * 60_000,
            payload=encode(policy.GrantPayload()),
        )
        return isinstance(check(statement, (teacher,), ground), Permitted)

    assert may("user-actions.t-u20.pupils", 45)
    assert not may("user-actions.t-u20.pupils", 46)
    assert not may("user-actions.t-u17.everybody", 45)


@pytest.mark.requirement("T-53")
def test_a_changed_answer_is_another_bundle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = bundle(pack(tmp_path / "a", TABLE, people=True), "ks2")
    changed = TABLE.replace(
        "gambling, answers: {everybody: unacceptable}", "gambling, answers: {everybody: acceptable}"
    )
    assert changed != TABLE
    assert bundle(pack(tmp_path / "b", changed, people=True), "ks2") != before


def test_what_no_device_sees_is_a_type_of_incident(tmp_path: Path) -> None:
    (phones,) = matrices.manual_incident_types(load_pack(pack(tmp_path, TABLE, people=True)))
    assert (phones.row, phones.audience, phones.answer) == ("T-C01", "pupils", model.Answer.UNACCEPTABLE)


def test_a_school_adds_to_a_category_and_takes_from_it(tmp_path: Path) -> None:
    own = (
        "categories: [{name: social, description: d, sites: [own.example], applications: [{file-name: own}], "
        "without: [facebook.com, caprine]}]\n"
    )
    held = opened(pack(tmp_path, TABLE, own, people=True), "library")
    (social,) = [one for one in held.browser.categories if one.name == "social"]
    assert "own.example" in social.sites
    assert "facebook.com" not in social.sites
    assert "instagram.com" in social.sites
    assert decides(held, "own", "ann") == "block"
    assert decides(held, "caprine", "ann") == "allow"


# ---- the other parts ------------------------------------------------------------------------------------------------


OTHERS = """\
sites:
  - {id: s.allow, description: d, why: w, resolution: r, decision: block, sites: ["*"], groups: [ks1],
     exceptions: [{id: e, groups: [ks1], reason: r, approved_by: head, until: 2027-07-20}]}
browser:
  - {id: b.search, description: d, why: w, resolution: r, safe_search: strict, private_windows: blocked,
     safeguarding: true}
network:
  - {id: n.tunnel, description: d, why: w, resolution: r, use: tunnel, decision: block, mode: warn}
peripherals:
  - {id: p.bt, description: d, why: w, resolution: r, kind: bluetooth-discoverable, decision: block,
     when: {periods: [lessons]}}
grants:
  - {kind: exception, rules: ["b.*"], max_minutes: 60, duties: [technician], two_persons: true}
"""


def test_browser_network_peripherals_and_grants_reach_the_device(tmp_path: Path) -> None:
    held = opened(pack(tmp_path, OTHERS), "ks1")
    assert held.browser.rules[0].sites == ("*",)
    setting = held.browser.settings[0]
    assert (setting.safe_search, setting.private_windows, setting.downloads) == (
        policy.SafeSearch.STRICT,
        policy.Switch.BLOCKED,
        policy.Switch.UNSPECIFIED,
    )
    assert setting.text.safeguarding
    assert held.network.rules[0].text.mode is policy.RuleMode.WARN
    peripheral = held.peripherals.rules[0]
    assert peripheral.when is not None
    assert peripheral.when.times
    assert held.grants == policy.GrantsSection(
        bounds=(
            policy.GrantBound(
                kind="exception",
                rule_ids=("b.*",),
                max_seconds=3_600,
                duties=("technician",),
                two_person=True,
            ),
        )
    )
    assert held.collection.kinds[0].sealing is SealingScheme.ANY_ONE


def test_a_school_of_many_people_and_rows_stays_small(tmp_path: Path) -> None:
    folder = pack(tmp_path, TABLE, people=True)
    rows = [f"P{n + 10},pupil{n},pupil,Year {n % 13 + 1},{n % 30},,\n" for n in range(1_500)]
    (tmp_path / "register.csv").write_text(REGISTER + "".join(rows))
    assert len(zlib.compress(bundle(folder, "ks2"), 9)) < 32 << 10
