"""A small pack with a register, and what a device that holds its bundle decides."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_proto.bundle import OpenBundle, open_bundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import compile_applications
from schoolkeeper_proto.people import PeopleTable

KEY = bytes(range(32))
MONDAY_10 = 1_795_428_000_000
"""Monday, 23 November 2026, 10:00 in London."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

BASE = """\
pack: {format: 1, name: mine, description: d}
school:
  time_zone: Europe/London
  hours: [{days: [monday, tuesday, wednesday, thursday, friday], from: "08:30", to: "15:45"}]
  timetable:
    - {name: lesson-1, days: [monday, tuesday], from: "09:00", to: "10:00"}
    - {name: morning-break, kind: break, days: [monday, tuesday], from: "10:00", to: "10:20"}
    - {name: lunch, kind: lunch, days: [monday, tuesday], from: "12:00", to: "13:00"}
  terms:
    - {name: Autumn, first: 2026-09-01, last: 2026-12-18}
    - {name: Spring, first: 2027-01-04, last: 2027-03-26}
  closed: [2026-10-26, 2026-10-27]
  sites:
    - name: main
      kinds_needed: 2
      marks: {ssid: [School], dns_suffix: [school.example], gateway_mac: ["00:11:22:33:44:55"]}
groups:
  - {name: ks1, description: d, profile: ks1, tags: [young]}
  - {name: ks2, description: d, profile: ks2}
  - {name: staff, description: d, profile: staff}
  - {name: library, description: d, tags: [shared]}
collection:
  shared_accounts: [year1]
  collected:
    - {kinds: [person.report], notice: n, purpose: p, retention_days: 1, readers: [dsl], seal: any-one}
notice: {title: t, introduction: i, not_watched: [x], sign_in_notice: s}
"""
REGISTER = """\
id,username,type,year,class,startdate,enddate
P1,ann,pupil,Year 4,4B,,
P2,bob,pupil,Year 1,1A,,
P3,old,pupil,Year 6,6A,,2026-07-20
S1,cy,staff,,,,
S2,dee,staff,,,,
S3,gone,staff,,,,2026-07-20
"""
PEOPLE = """\
people:
  register: {file: ../register.csv}
  shared: [{account: reception, key_stage: eyfs}]
  groups:
    - {name: film-club, description: d, members: [P1], classes: [1A]}
    - {name: nominated-staff, description: d, members: [S2]}
    - {name: nobody-yet, description: d, empty_on_purpose: true}
"""
TABLES_HEAD = "matrices:\n  - id: m\n    title: t\n    rows:\n"
RULE = (
    "  - {{id: {id}, description: d, why: w, resolution: r, decision: {decision}, "
    "match: [{{file-name: {name}}}]{more}}}\n"
)


def app(id_: str = "a.b", name: str = "x", decision: str = "block", more: str = "") -> str:
    return RULE.format(id=id_, decision=decision, name=name, more=f", {more}" if more else "")


def pack(tmp_path: Path, *parts: str, people: bool = False) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "base.yaml").write_text(BASE)
    for number, part in enumerate(parts):
        (folder / f"part{number}.yaml").write_text(part)
    if people:
        (folder / "people.yaml").write_text(PEOPLE)
        (tmp_path / "register.csv").write_text(REGISTER)
    return folder


def bundle(folder: Path, group: str, now: int = MONDAY_10) -> bytes:
    return compile_pack(
        folder, school_id="s", group=group, version=1, compiled_at_unix_ms=now, pseudonym_key=KEY
    )


def opened(folder: Path, group: str, now: int = MONDAY_10) -> OpenBundle:
    return open_bundle(
        bundle(folder, group, now), school_id="s", group=group, capabilities=frozenset({"people/1"})
    )


def decides(
    held: OpenBundle, name: str, account: str = "", now: int = MONDAY_10, place: str = "on-site"
) -> str:
    """What the device's own engine answers when this account starts /usr/bin/<name>."""
    groups = frozenset({"users"}) | PeopleTable(held.people, KEY).groups_of(account)
    here = Circumstances(now_ms=now, place=place, groups=groups)
    return compile_applications(held.applications).decide(f"/usr/bin/{name}", here).decision
