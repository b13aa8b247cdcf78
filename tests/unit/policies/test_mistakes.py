"""Mistakes in a pack: all of them are said, each with place, reason and remedy, and nothing is compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.cli import app
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.source import read


def pack(tmp_path: Path, **changes: str) -> Path:
    """A copy of the default pack with files replaced or added (name without .yaml -> text)."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in pack_folder("default").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    for name, text in changes.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_pack(folder)
    return [str(problem) for problem in caught.value.problems]


RULE = """\
applications:
  - id: {id}
    description: d
    why: w
    resolution: r
    decision: {decision}
    match: [{match}]
{more}"""


def rule(name: str = "a.b", decision: str = "block", match: str = "{file-name: x}", more: str = "") -> str:
    return RULE.format(id=name, decision=decision, match=match, more=more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rule(decision="blok"), "mine/applications.yaml:6:15: 'decision': 'blok' is not one of them"),
        (rule(decision="blok"), "did you mean 'block'?"),
        (rule("A B"), "mine/applications.yaml:2:9: 'id': 'A B' has not the form"),
        (rule(more="    modus: warn\n"), "mine/applications.yaml:8:5: unknown key 'modus'; did you mean 'mode'?"),
        (rule(match="{file-name: a, path: /b}"), "mine/applications.yaml:7:13: 2 ways to recognise a program"),
        (rule(match="{}"), "mine/applications.yaml:7:13: 0 ways to recognise a program"),
        (rule(match="{path: bin/x}"), "must begin with '/'"),
        (rule(match="{file-name: a/b}"), "write it without '/'"),
        (rule(more="    groups: [ks2-laptop]\n"), "8:14: there is no group 'ks2-laptop'; did you mean 'ks2-laptops'?"),
        (rule(more="    when: {places: [unknown]}\n"), "'unknown' is no place; write on-site or off-site"),
        (rule(more="    when: {times: [{days: [monday], from: '16:00', to: '08:00'}]}\n"),
         "must be later than 'from' (16:00)"),
        (rule(more="    id: a.c\n"), "8:5: the key 'id' stands here a second time; the first is in line 2"),
        (rule("media.encrypted-only"), "the rule 'media.encrypted-only' is already there, in mine/"),
        (rule() + "school: {time_zone: Mars, hours: [{days: [monday], from: '08:00', to: '09:00'}]}\n",
         "'school' is already said in mine/"),
        ("applications: [&a {id: x}, *a]\n", "1:16: anchors and aliases are not used here"),
        ("applications: !!python/object:x []\n", "is not used here"),
        ("applications:\n\t- id: x\n", "applications.yaml:2:1"),
        ("applications: [\n", "applications.yaml:2:1"),
        ("applications: {a: 1}\n", "1:15: 'applications': a list is needed, this is keys and values"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("", "there is nothing here"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    found = mistakes(pack(tmp_path, applications=text))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("end_unlocked_seconds: 60", "must be 0 (never) or at least 300: people need time to save"),
        ("tokens: [{vendor_product: Yubikey}]", "'vendor_product'"),
        ("tokens: [{serial: '77'}]", "the key 'vendor_product' is missing"),
    ],
)
def test_a_mistake_about_what_else_locks_a_screen_is_named(tmp_path: Path, more: str, said: str) -> None:
    screen = f"screen: {{id: s, description: d, why: w, resolution: r, idle_lock_seconds: 300, {more}}}\n"
    (found,) = mistakes(pack(tmp_path, screen=screen))
    assert found.startswith("mine/screen.yaml:1:")
    assert said in found


def test_all_mistakes_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    found = mistakes(
        pack(tmp_path, applications=rule(decision="no"), screen="screen: {id: s}\n", media="media: 5\n")
    )
    assert {line.split(":")[0] for line in found} == {
        "mine/applications.yaml",
        "mine/screen.yaml",
        "mine/media.yaml",
    }
    assert len(found) >= 6


def test_a_collected_kind_needs_its_notice(tmp_path: Path) -> None:
    text = (
        "collection:\n  collected:\n    - kinds: [heartbeat]\n      purpose: p\n      retention_days: 1\n"
        "      readers: [dsl]\n"
    )
    assert any("the key 'notice' is missing" in line for line in mistakes(pack(tmp_path, collection=text)))


def test_an_unknown_kind_is_not_collected(tmp_path: Path) -> None:
    text = (
        "collection:\n  collected:\n    - kinds: [hearbeat]\n      notice: n\n      purpose: p\n"
        "      retention_days: 1\n      readers: [dsl]\n"
    )
    line, agreed = mistakes(pack(tmp_path, collection=text))
    assert line.startswith(
        "mine/collection.yaml:3:15: there is no kind of event 'hearbeat'; did you mean 'heartbeat'?"
    )
    assert "people are asked to agree, and 'aup.accepted'" in agreed


def test_a_group_that_the_pack_refuses(tmp_path: Path) -> None:
    folder = pack(tmp_path)
    text = (folder / "pack.yaml").read_text().replace("rules-for-all", "refuse")
    (folder / "pack.yaml").write_text(text)
    with pytest.raises(PolicyError, match="has no group 'ks2-laptop'; did you mean 'ks2-laptops'"):
        compile_pack(
            folder, school_id="s", group="ks2-laptop", version=1, compiled_at_unix_ms=1, pseudonym_key=b""
        )


def test_the_tool_prints_every_mistake_and_fails(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(pack(tmp_path, applications=rule("A", decision="no")))])
    assert result.exit_code == 1
    assert "2 mistakes" in result.output


@pytest.mark.parametrize(
    "text", ["[" * 5_000, "a: " * 3_000, "- " * 20_000, "{" * 90_000, "a: &x [*x]", "a: 1e999", "a: 0x1F\n"]
)
def test_hostile_yaml_is_refused_and_never_hangs(text: str) -> None:
    with pytest.raises(PolicyError):
        read(text, file="f.yaml")


def test_a_bus_that_no_agent_knows_is_a_mistake(tmp_path: Path) -> None:
    """It would name no medium, and nobody would notice."""
    text = (
        "media:\n  - id: cards\n    description: d\n    why: w\n    resolution: r\n    access: block\n"
        "    buses: [usb, sdcard]\n"
    )
    assert any(
        "'sdcard' is not one of them" in said and "mmc" in said
        for said in mistakes(pack(tmp_path, media=text))
    )
