"""Mistakes that no single value shows: each is refused with its place and what to do instead."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.checking.clocks import changes_of
from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from support.language import TABLES_HEAD, app, pack
from support.work import lines_of

TODAY = date(2026, 11, 23)
APPS = "applications:\n"
HEX = "ab" * 32
ENCRYPTED = ", plain: read-only, unknown: read-only"


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_pack(folder)
    return [str(problem) for problem in caught.value.problems]


def row(answers: str, more: str = "") -> str:
    return TABLES_HEAD + f"      - {{id: T-U1, activity: a, answers: {answers}, {more}}}\n"


def medium(id_: str, access: str, more: str = "") -> str:
    return f"  - {{id: {id_}, description: d, why: w, resolution: r, access: {access}{more}}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # names that lead nowhere
        (APPS + app(more="groups: [profile:ks3+]"), "no group of devices has the profile 'ks3+'"),
        (APPS + app(more="groups: [tag:shred]"), "there is no group 'tag:shred'; did you mean 'tag:shared'?"),
        (APPS + app(more="audience: [pupil]"), "there is no group of people 'pupil'; did you mean 'pupils'?"),
        (APPS + app(more="audience: [person:P1]"), "'person:P1' has not the form"),
        (APPS + app(more="when: {periods: [lunhc]}"), "the timetable has no 'lunhc'; did you mean 'lunch'?"),
        (APPS + app().replace("file-name: x", "category: gaming"), "there is no category 'gaming'; did you mean"),
        (APPS + app().replace("file-name: x", "category: games, snap: x"), "2 ways to recognise a program"),
        # exceptions
        (APPS + app(more="exceptions: [{id: e, people: [staff], reason: r, approved_by: h}]"),
         "part0.yaml:2:109: the exception 'e' has no end; add 'until:' with its last day"),
        (APPS + app(more="exceptions: [{id: e, people: [staff], reason: r, approved_by: h, from: 2027-02-02, "
                         "until: 2027-02-01}]"), "the exception 'e' ends before it begins"),
        (APPS + app(more="exceptions: [{id: e, reason: r, approved_by: h, until: 2027-02-01}]"),
         "the exception 'e' is for everybody"),
        (APPS + app(more="exceptions: [{id: e, people: ['person:P1'], reason: r, approved_by: h, until: 2027-02-01}]"),
         "'person:P1' is an id of the register, and the pack has none"),
        # nobody
        (APPS + app(more="groups: [staff], audience: [pupils]"),
         "the rule 'a.b' can never apply: none of its groups of devices is for pupils"),
        ("people: {groups: [{name: club, description: d}]}\n" + APPS + app(more="audience: [club]"),
         "nobody is in the group 'club'; give it members"),
        ("people: {groups: [{name: staff, description: d}]}\n", "'staff' is a built-in group of people"),
        # rules that never decide
        (APPS + app("a.weak", decision="warn") + app("b.strong"),
         "part0.yaml:2:5: the rule 'a.weak' can never decide: 'b.strong' in mine/part0.yaml:3:5 is stricter"),
        (APPS + app("a.weak", decision="allow", more="groups: [ks1], when: {school_hours: true}") + app("b.strong"),
         "the rule 'a.weak' can never decide"),
        (APPS + app("a.one") + app("b.two"),
         "3:5: the rule 'b.two' says what 'a.one' in mine/part0.yaml:2:5 says already"),
        ("media:\n" + medium("m.all", "block") + medium("m.mine", "allow", ", serials: [S1]"),
         "the rule 'm.mine' can never decide: 'm.all'"),
        ("media:\n" + medium("m.all", "read-only") + medium("m.enc", "encrypted-only", ENCRYPTED),
         "the rule 'm.enc' can never decide"),
        # tables
        (row("{pupils: at-certain-times}", "sites: [games]"),
         "T-U1 is acceptable at certain times for pupils, and says not when"),
        (row("{staff: nominated-users}", "sites: [games]"), "nominates nobody; add 'nominated:'"),
        (row("{everyone: acceptable}", "sites: [games]"), "there is no group of people 'everyone'"),
        (row("{everybody: aceptable}"), "'aceptable' is not one of them; did you mean 'acceptable'?"),
        (row("{everybody: unacceptable}", "rules: [no.such]"), "there is no rule 'no.such'"),
        (row("{everybody: unacceptable}") + row("{everybody: unacceptable}").partition("rows:\n")[2],
         "the row 'T-U1' is already there"),
        (row("{everybody: unacceptable}", "sites: [games]") + APPS + app("m.t-u1.everybody"),
         "a rule made from a matrix is called 'm.t-u1.everybody', too"),
        # overrides and bounds
        (f"overrides: [{{id: o, lift: [a.b], reason_hash: {HEX}, decided_by: dsl, review: 2027-01-01}}]\n"
         + APPS + app(),
         "the override 'o' must name one person"),
        (f"overrides: [{{id: o, pseudonym: {HEX[:16]}, reason_hash: {HEX}, decided_by: dsl, review: 2027-01-01}}]\n",
         "the override 'o' decides nothing"),
        (f"overrides: [{{id: o, pseudonym: {HEX[:16]}, lift: [a.c], reason_hash: {HEX}, decided_by: dsl, "
         "review: 2027-01-01}]\n" + APPS + app(), "there is no rule 'a.c'; did you mean 'a.b'?"),
        (f"overrides: [{{id: o, pseudonym: {HEX[:16]}, lift: [a.b], reason: because, reason_hash: {HEX}, "
         "decided_by: dsl, review: 2027-01-01}]\n" + APPS + app(), "unknown key 'reason'; did you mean 'reason_hash'?"),
        ("grants: [{kind: lesson, rules: ['z.*'], max_minutes: 5, duties: [staff]}]\n" + APPS + app(),
         "no rule is called 'z.*'"),
        *((f"grants: [{{kind: {kind}, {more}max_minutes: 5, duties: [staff], "
           "console: [{days: [monday], from: '09:00', to: '10:00'}]}]\n" + APPS + app(),
           "only a lesson that names its rules is opened on the console")
          for kind, more in (("observe", "rules: [a.b], "), ("lesson", ""),
                             ("lesson", "rules: [a.b], two_persons: true, "))),
        # nothing said
        ("sites: [{id: s, description: d, why: w, resolution: r, decision: block}]\n", "the rule 's' names no site"),
        ("browser: [{id: s, description: d, why: w, resolution: r}]\n", "the rule 's' sets nothing; add one of"),
        ("network: [{id: s, description: d, why: w, resolution: r, use: unspecified, decision: block}]\n",
         "'unspecified' is no use; write one of: other-wireless"),
        # the change of clocks
        (APPS + app(more="when: {times: [{days: [sunday], from: '01:30', to: '05:00'}]}"),
         "01:30 on a sunday happens twice, or not at all, when the clocks change in Europe/London; write"),
        (row("{pupils: at-certain-times}",
             "sites: [games], when: {times: [{days: [sunday], from: '00:00', to: '01:00'}]}"),
         "01:00 on a sunday happens twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    found = mistakes(pack(tmp_path, text))
    assert any(said in line for line in found), found
    assert all(".yaml:" in line for line in found)


@pytest.mark.parametrize(
    "text",
    [
        APPS + app("a.weak", decision="warn", more="mode: observe") + app("b.strong"),
        APPS + app("a.weak", decision="warn") + app("b.trial", more="mode: observe"),
        APPS + app("a.weak", decision="allow") + app("b.strong", more="when: {school_hours: true}"),
        APPS + app("a.weak", decision="allow") + app("b.strong", more="groups: [ks1]"),
        APPS + app("a.weak", decision="warn") + app("b.strong", name="y"),
        APPS
        + app("a.weak", decision="warn")
        + app(
            "b.strong",
            more="exceptions: [{id: e, groups: [ks1], reason: r, approved_by: h, until: 2027-07-20}]",
        ),
        "media:\n"
        + medium("m.all", "encrypted-only", ", plain: block")
        + medium("m.b", "block", ", serials: [S]"),
        APPS + app(more="when: {times: [{days: [sunday], from: '02:00', to: '24:00'}]}"),
        APPS + app(more="when: {times: [{days: [monday], from: '01:30', to: '05:00'}]}"),
        row("{pupils: at-certain-times, staff: nominated-users}"),
    ],
)
def test_what_is_no_mistake(tmp_path: Path, text: str) -> None:
    load_pack(pack(tmp_path, text))


def test_a_site_that_can_never_be_told_is_an_error(tmp_path: Path) -> None:
    folder = pack(tmp_path)
    base = (folder / "base.yaml").read_text()
    base = base.replace("kinds_needed: 2", "kinds_needed: 3").replace("ssid: [School], ", "")
    (folder / "base.yaml").write_text(base)
    assert "the site 'main' needs 3 kinds of mark and has 2" in mistakes(folder)[0]


def advice(folder: Path, today: date = TODAY) -> str:
    return "\n".join(str(one) for one in advise(folder, today))


def test_advice_stops_nothing_and_names_what_is_worth_a_look(tmp_path: Path) -> None:
    tables = row("{everybody: unacceptable}", "applications: [games]")
    first = tables.partition("rows:\n")[2]
    second = first.replace("T-U1", "T-C8").replace("everybody: unacceptable", "ks2: acceptable")
    third = second.replace("T-C8", "T-C9").replace("ks2: acceptable", "ks1: unacceptable")
    opened = "open_decisions: [{id: D-03, about: messaging, text: two tables, in_force: not allowed}]\n"
    old = APPS + app(
        more="exceptions: [{id: e, people: [staff], reason: r, approved_by: h, until: 2026-11-22}]"
    )
    folder = pack(tmp_path, tables + second + third, opened, old)
    said = advice(folder)
    assert "T-C8 never decides on applications: T-U1 is stricter" in said
    assert "T-C9 says of applications what T-U1 says already" in said
    assert "open decision D-03: messaging; in force until the school decides: not allowed" in said
    assert "the exception 'e' ended on 2026-11-22" in said
    assert "every term of the pack is over" not in said
    assert "every term of the pack is over" in advice(folder, date(2027, 3, 27))


def test_the_tool_says_advice_and_succeeds(tmp_path: Path) -> None:
    opened = "open_decisions: [{id: D-03, about: messaging, text: two tables, in_force: not allowed}]\n"
    folder = pack(tmp_path, row("{everybody: unacceptable}"), opened, APPS + app())
    said = CliRunner().invoke(cli, ["check", str(folder)])
    assert said.exit_code == 0
    assert "note: mine/part1.yaml:1:18: open decision D-03: messaging" in said.output
    assert "mine: 1 rules, 4 groups" in said.output
    assert "1 types of incident that people report" in said.output


def test_a_wireless_network_alone_is_easily_imitated(tmp_path: Path) -> None:
    folder = pack(tmp_path)
    base = (folder / "base.yaml").read_text()
    assert "imitate" not in advice(folder)
    (folder / "base.yaml").write_text(base.replace("kinds_needed: 2", "kinds_needed: 1"))
    assert "anyone with a telephone can imitate the wireless network of 'main'" in advice(folder)


def test_changes_of_clocks() -> None:
    (london,) = changes_of("Europe/London")
    assert (london.weekday, london.first, london.last) == (6, 60, 120)
    assert changes_of("UTC") == frozenset()


def test_the_check_of_a_large_pack_grows_no_faster_than_the_pack(tmp_path: Path) -> None:
    """Seconds are measured by the benches."""

    def work(rules: int) -> int:
        text = APPS + "".join(app(f"r.n{number}", f"program-{number}") for number in range(rules))
        (tmp_path / str(rules)).mkdir()
        folder = pack(tmp_path / str(rules), text)
        load_pack(folder)
        return lines_of(lambda: load_pack(folder))

    one, two, three = work(100), work(200), work(300)
    assert three - two < 1.1 * (two - one)
