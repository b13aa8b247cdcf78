"""The commands of ``schoolkeeper-policy``, as a technician and as CI call them: words, files and exit statuses."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from schoolkeeper_policies.cli import app
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.fmt import format_text
from schoolkeeper_policies.init import QUESTIONS
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

PACKS = Path(str(files("schoolkeeper_policies") / "packs"))
TESTED = """
  - id: tests.minefield
    description: Minefield does not start in lessons.
    why: It is chat in disguise.
    resolution: Ask your teacher.
    when: {school_hours: true}
    decision: block
    match: [{file-name: minefield}]
    tests:
      - {name: not in lessons, at: Mon 10:15, app: /usr/games/minefield, expect: block}
      - {name: in the evening, at: Mon 18:00, app: /usr/games/minefield, expect: EVENING}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def pack_with(folder: Path, rule: str, name: str = "pack") -> Path:
    pack = folder / name
    shutil.copytree(PACKS / "default", pack)
    rules = pack / "applications.yaml"
    rules.write_text(rules.read_text().replace("applications:\n", "applications:" + rule, 1))
    return pack


# ---- explain ----------------------------------------------------------------------------------------------


def test_explain_says_decision_rule_source_and_the_words() -> None:
    said = run("explain", "default", "--group", "ks2-laptops", "--app", "/opt/tor-browser/Browser/firefox")
    assert said.exit_code == 0, said.output
    assert "decision: block" in said.output
    assert "rule: bypass.tor (default/applications.yaml:" in said.output
    assert "source: T-17" in said.output
    assert "the person reads: firefox is not allowed here" in said.output
    assert "| Why: It hides where a browser goes from the school's web filter." in said.output


def test_explain_depends_on_the_time_and_says_which_rule_does_not_hold(tmp_path: Path) -> None:
    pack = str(pack_with(tmp_path, TESTED.replace("EVENING", "allow")))
    morning = run("explain", pack, "--app", "/usr/games/minefield", "--at", "Mon 10:15")
    assert "decision: block" in morning.output
    evening = run("explain", pack, "--app", "/usr/games/minefield", "--at", "Mon 18:00")
    assert "decision: allow" in evening.output
    assert "also about it: tests.minefield (enforce block) does not hold now" in evening.output


def test_explain_reads_a_compiled_bundle_and_gives_json(tmp_path: Path) -> None:
    bundle = tmp_path / "ks2.bundle"
    bundle.write_bytes(
        compile_pack(
            "default",
            school_id="s",
            group="ks2-laptops",
            version=1,
            compiled_at_unix_ms=0,
            pseudonym_key=b"k" * 32,
        )
    )
    said = run("explain", str(bundle), "--usb", "abcd:1234:S1", "--encryption", "luks2", "--json")
    assert said.exit_code == 0, said.output
    answer = json.loads(said.output)
    assert (answer["format"], answer["decision"], answer["group"]) == (1, "allow", "ks2-laptops")
    assert run("explain", str(bundle), "--group", "other", "--idle").exit_code == 1


def test_explain_finds_the_group_of_a_device_and_names_what_is_wrong(tmp_path: Path) -> None:
    devices = tmp_path / "devices.csv"
    devices.write_text("device,group\nlaptop-7,staff-laptops\n")
    given = ("--devices", str(devices), "--idle")
    assert "group staff-laptops" in run("explain", "default", "--device", "laptop-7", *given).output
    unknown = run("explain", "default", "--device", "laptop-8", *given)
    assert unknown.exit_code == 2
    assert "did you mean 'laptop-7'?" in unknown.output
    devices.write_text("device,group\nlaptop-7,\nlaptop-8,a\nlaptop-8,b\n")
    broken = run("explain", "default", "--device", "laptop-7", *given)
    assert broken.exit_code == 1
    assert ":2:1: device or group is empty" in broken.output
    assert ":4:1: 'laptop-8' is already in 'a'" in broken.output
    assert run("explain", "default").exit_code == 2
    assert run("explain", "default", "--idle", "--at", "sometime").exit_code == 2


# ---- plan and diff ----------------------------------------------------------------------------------------


def test_plan_against_a_pack_with_devices_and_a_gate_for_ci(tmp_path: Path) -> None:
    guarded = TESTED.replace("    decision: block", "    safeguarding: true\n    decision: block")
    strict = pack_with(tmp_path, guarded.replace("EVENING", "allow"), "strict")
    devices = tmp_path / "devices.csv"
    devices.write_text("device,group\na,ks2-laptops\nb,ks2-laptops\nc,staff-laptops\n")
    stricter = run("plan", str(strict), "--against", "default", "--devices", str(devices))
    assert stricter.exit_code == 0, stricter.output
    assert "stricter: applications tests.minefield added [safeguarding]" in stricter.output
    assert "3 devices" in stricter.output
    gate = ("--fail-on", "safeguarding")
    assert run("plan", str(strict), "--against", "default", *gate).exit_code == 0
    weaker = run("plan", "default", "--against", str(strict), *gate)
    assert weaker.exit_code == 3
    assert "weaker: applications tests.minefield removed [safeguarding]" in weaker.output
    assert "the leadership's consent" in weaker.output
    assert json.loads(run("plan", "default", "--against", str(strict), "--json").output)[
        "weakens_safeguarding"
    ]


def test_plan_with_nothing_in_force_calls_it_new_and_not_changed() -> None:
    said = run("plan", "default", "--group", "ks2-laptops")
    assert said.exit_code == 0, said.output
    assert said.output.startswith("new: in ks2-laptops nothing is in force to compare with")
    assert " changed" not in said.output
    assert "compared with a group that is in force" in said.output
    assert "risk" not in said.output.splitlines()[-1]
    held = json.loads(run("plan", "default", "--group", "ks2-laptops", "--json").output)["bundles"]
    assert held["ks2-laptops"]["in_force"] is None
    assert "new: " not in run("plan", "default", "--against", "default").output


def test_diff_exits_1_where_packs_differ_and_0_where_they_do_not(tmp_path: Path) -> None:
    other = pack_with(tmp_path, TESTED.replace("EVENING", "allow"))
    assert run("diff", "default", "default").exit_code == 0
    found = run("diff", "default", str(other), "--group", "ks2-laptops")
    assert found.exit_code == 1
    assert "tests.minefield added" in found.output


# ---- test and match ---------------------------------------------------------------------------------------


def test_tests_inside_rules_run_by_the_engine(tmp_path: Path) -> None:
    good = run("test", str(pack_with(tmp_path, TESTED.replace("EVENING", "allow"), "good")))
    assert good.exit_code == 0, good.output
    bad = run("test", str(pack_with(tmp_path, TESTED.replace("EVENING", "block"), "bad")))
    assert bad.exit_code == 1
    assert "test 'in the evening': decided allow by no rule instead of block" in bad.output
    lonely = TESTED.replace("EVENING", "allow").rpartition("      - {name: in the evening")[0]
    one = run("test", str(pack_with(tmp_path, lonely, "one")))
    assert one.exit_code == 1
    assert "are both needed" in one.output


def test_a_test_that_asks_about_two_things_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    wrong = TESTED.replace("EVENING", "allow").replace("at: Mon 10:15,", "at: Mon 10:15, idle: true,")
    found = run("check", str(pack_with(tmp_path, wrong)))
    assert found.exit_code == 1
    assert "applications.yaml:10:9" in found.output
    assert "ask about exactly one of" in found.output


RULE = """\
title: Encoded PowerShell
id: 11111111-2222-3333-4444-555555555555
level: high
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\\powershell.exe', CommandLine|contains: ' -enc '}
  condition: selection
"""
COUNTED = """\
---
title: Often
name: often
level: high
correlation:
  type: event_count
  rules: [11111111-2222-3333-4444-555555555555]
  group-by: [Computer]
  timespan: 5m
  condition: {gte: 2}
"""


def test_match_reads_rules_of_any_log_source(tmp_path: Path) -> None:
    rule, hit, miss = tmp_path / "rule.yml", tmp_path / "hit.json", tmp_path / "miss.json"
    rule.write_text(RULE)
    event = {"Image": "C:\\Windows\\powershell.exe", "CommandLine": "powershell -enc AAAA", "Computer": "PC1"}
    hit.write_text(json.dumps(event))
    miss.write_text(json.dumps([{"Image": "C:\\Windows\\cmd.exe"}, {"process": {"name": "x"}}]))
    assert run("match", str(rule), str(hit)).exit_code == 0
    assert run("match", str(rule), str(miss)).exit_code == 1
    both = run("match", str(rule), str(miss), str(hit))
    assert both.exit_code == 0
    assert "hit.json#1: 11111111-2222-3333-4444-555555555555" in both.output


def test_match_runs_correlations_by_the_time_of_the_events(tmp_path: Path) -> None:
    rule, events = tmp_path / "rule.yml", tmp_path / "events.jsonl"
    rule.write_text(RULE + COUNTED)
    event = {"Image": "C:\\a\\powershell.exe", "CommandLine": "x -enc y", "Computer": "PC1"}

    def at(*times: str) -> int:
        events.write_text("\n".join(json.dumps(event | {"@timestamp": time}) for time in times))
        return run("match", str(rule), str(events)).exit_code

    assert at("2026-11-23T10:00:00Z", "2026-11-23T10:04:00Z") == 0
    assert at("2026-11-23T10:00:00Z", "2026-11-23T10:06:00Z") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("CommandLine|contains", "CommandLine|base64offset"), "rule.yml:6:"),
        (("condition: selection", "condition: selection | count() > 5"), "rule.yml:7:"),
        (("title:", "tittle:"), "rule.yml:1:1"),
    ],
)
def test_match_outside_the_subset_exits_2_with_the_place(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    rule, event = tmp_path / "rule.yml", tmp_path / "event.json"
    rule.write_text(RULE.replace(*change))
    event.write_text("{}")
    found = run("match", str(rule), str(event))
    assert found.exit_code == 2
    assert said in found.output
    event.write_text("{")
    rule.write_text(RULE)
    assert run("match", str(rule), str(event)).exit_code == 2
    assert run("match", str(rule), str(tmp_path / "none.json")).exit_code == 2


# ---- fmt and init -----------------------------------------------------------------------------------------


def test_fmt_keeps_comments_and_meaning_and_does_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "# first\nmedia:\n# about sticks\n- id: x   # its name\n  why:   because\n\n\n\n  buses: [usb,  mmc]\n"
    )
    assert run("fmt", "--check", str(file)).exit_code == 1
    assert run("fmt", str(file)).exit_code == 0
    formed = file.read_text()
    assert run("fmt", "--check", str(file)).exit_code == 0
    for comment in ("# first", "# about sticks", "# its name"):
        assert comment in formed
    assert "  - id: x" in formed
    assert "buses: [usb, mmc]" in formed


@pytest.mark.parametrize(
    "path", sorted(PACKS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_fmt_of_every_shipped_file_is_idempotent(path: Path) -> None:
    formed = format_text(path.read_text(), file=path.name)
    assert format_text(formed, file=path.name) == formed


def test_fmt_leaves_the_braces_of_a_single_pair() -> None:
    assert format_text("a: [{b: c}, d:   e]\n", file="x") == "a: [{b: c}, {d: e}]\n"


def test_fmt_refuses_what_is_no_pack_and_leaves_it(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &x 1\nb: *x\n")
    refused = run("fmt", str(file))
    assert refused.exit_code == 1
    assert "a.yaml:1:4" in refused.output
    assert file.read_text() == "a: &x 1\nb: *x\n"
    with pytest.raises(PolicyError):
        format_text("a: 1\na: 2\n", file="x")


def test_init_writes_a_pack_that_passes_check(tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text(
        "name: westgate\nterms: ['2026-09-02 to 2026-12-18']\nplain_media: block\nusage_off_site: true\n"
        "idle_lock_seconds: 300\nopens: '11:00'\ncloses: '19:00'\n"
    )
    folder = tmp_path / "westgate"
    done = run("init", str(folder), "--answers", str(answers))
    assert done.exit_code == 0, done.output
    assert run("check", str(folder)).exit_code == 0
    assert run("test", str(folder)).exit_code == 0
    assert run("fmt", "--check", str(folder)).exit_code == 0
    pack = load_pack(folder)
    assert pack.about.name == "westgate"
    assert pack.screen is not None
    assert pack.screen.idle_lock_seconds == 300
    assert str(pack.media[0].plain) == "block"
    usage = next(item for item in pack.collection.collected if "application.usage" in item.kinds)
    assert usage.off_site
    assert "away" in usage.notice
    assert run("init", str(folder), "--answers", str(answers)).exit_code == 1


def test_init_says_every_answer_that_cannot_be_used_and_writes_nothing(tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text("time_zone: America/New_Yrok\nopens: soon\nnmae: x\nterms: 2026-12-18 to 2026-09-02\n")
    folder = tmp_path / "pack"
    done = run("init", str(folder), "--answers", str(answers))
    assert done.exit_code == 1
    assert "'time_zone': write a name like America/New_York" in done.output
    assert "answers.yaml:2:8: 'opens': write a time like 08:30" in done.output
    assert "did you mean 'name'?" in done.output
    assert "it ends before it begins" in done.output
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yaml"]


def test_init_asks_each_question_with_its_default(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["init", str(tmp_path / "pack")], input="our place\nwestgate\n" + "\n" * 20
    )
    assert done.exit_code == 0, done.output
    assert "that cannot be used; small letters" in done.output
    for asked in QUESTIONS:
        assert asked.question in done.output
        assert asked.help in done.output
    assert load_pack(tmp_path / "pack").about.name == "westgate"


@pytest.mark.requirement("W-42")
@pytest.mark.parametrize(("answer", "decided"), [(None, "block"), ("no", "block"), ("yes", "allow")])
def test_init_has_the_school_decide_on_social_networks_and_without_a_decision_they_are_not_permitted(
    tmp_path: Path, answer: str | None, decided: str
) -> None:
    answers, folder = tmp_path / "answers.yaml", tmp_path / "mine"
    answers.write_text("name: mine\n" + (f"personal_social_media: {answer}\n" if answer is not None else ""))
    done = run("init", str(folder), "--answers", str(answers))
    assert done.exit_code == 0, done.output
    assert run("test", str(folder)).exit_code == 0
    asked = ("explain", str(folder), "--group", "staff-laptops", "--app", "/usr/bin/caprine", "--at")
    assert json.loads(run(*asked, "Mon 11:00", "--json").output)["decision"] == decided
    assert json.loads(run(*asked, "Mon 20:00", "--json").output)["decision"] == "allow"
    bad = tmp_path / "bad.yaml"
    bad.write_text("personal_social_media: is/is not permitted\n")
    refused = run("init", str(tmp_path / "other"), "--answers", str(bad))
    assert refused.exit_code == 1
    assert "write yes or no" in refused.output
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("usb", ["zzz", "0781", "0781:55", "0781-5567"])
def test_a_medium_that_is_none_is_wrong_use_and_decides_nothing(usb: str) -> None:
    said = run("explain", "default", "--usb", usb)
    assert said.exit_code == 2
    assert "0781:5567" in said.stderr
    assert not said.stdout


def test_an_export_takes_no_school_that_cannot_be_one(tmp_path: Path) -> None:
    said = run("export", "default", "--school", "Bad School", "--out", str(tmp_path / "e"))
    assert said.exit_code == 2
    assert "--school" in said.stderr
    assert not (tmp_path / "e").exists()
