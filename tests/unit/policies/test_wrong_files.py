"""A file of the wrong kind is named for what it is, at every command that reads one; nobody reads protobuf's words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies import cli as policy_cli
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.filekinds import NOTHING, looks_like
from schoolkeeper_policies.officer import cli as officer_cli
from schoolkeeper_policies.officer import keyfile, staged
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.trust import Duty
from schoolkeeper_proto.wire import GrantKind

KEYS = keyfile.new_keys("dsl", Duty.SAFEGUARDING)


def bundle() -> bytes:
    return compile_pack(
        "demo", school_id="s", group="default", version=1, compiled_at_unix_ms=1, pseudonym_key=bytes(32)
    )


def grant() -> bytes:
    said = wire.GrantStatement(
        school_id="s", grant_id=bytes(16), kind=GrantKind.OBSERVE, not_before_unix_ms=1, expires_unix_ms=2
    )
    return encode(wire.Grant(statement=encode(said)))


FILES: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("a compiled policy (bundle) of the group default", bundle),
    ("a grant (.skgrant) of the kind observe", grant),
    ("a school's root (root.json)", lambda: b'{"signed": {"_type": "root"}, "signatures": []}'),
    ("the public part of somebody's keys", lambda: keyfile.write_public(KEYS, "dsl")),
    ("an officer's signatures (.sksigned)", lambda: b'{"targets_signatures": []}'),
    ("a plan that was written with --json", lambda: b'{"changes": [], "groups": []}'),
    ("a JSON file of another kind", lambda: b'{"a": 1}'),
    ("a CSV table", lambda: b"id,name,class\n1,A,4B\n"),
    ("a picture", lambda: b"\x89PNG\r\n"),
    ("a PDF document", lambda: b"%PDF-1.7"),
    ("plain text or YAML", lambda: b"rules: []\n"),
    ("an empty file", bytes),
    ("a damaged archive", lambda: b"PK\x03\x04rest"),
    (NOTHING, lambda: b"\xff\xfe" + os.urandom(200)),
)


@pytest.mark.parametrize(("said", "made"), FILES, ids=[said for said, _ in FILES])
def test_a_file_is_named_for_what_it_looks_like(said: str, made: Callable[[], bytes]) -> None:
    assert looks_like(made()) == said


@pytest.mark.parametrize(
    ("program", "arguments", "wanted"),
    [
        ("policy", ("plan", "demo", "--against", "FILE"), "not a compiled policy (bundle)"),
        ("policy", ("explain", "FILE", "--app", "/x"), "not a compiled policy (bundle)"),
        ("policy", ("notice", "FILE"), "not a compiled policy (bundle)"),
        ("policy", ("check", "FILE"), "not a pack's folder"),
        ("policy", ("plan", "demo", "--events", "FILE"), "not events"),
        ("officer", ("show", "FILE", "--key", "KEY"), "not a staged change (.skchange)"),
        ("officer", ("sign", "FILE", "--key", "KEY"), "not a staged change (.skchange)"),
        ("officer", ("sign", "CHANGE", "--key", "FILE"), "not an officer's key file"),
        ("officer", ("whoami", "--key", "FILE"), "not an officer's key file"),
        ("officer", ("grant", "school", "FILE", "--key", "KEY"), "not a staged change"),
        ("officer", ("open-reason", "FILE", "--key", "KEY", "--hash", "ab"), "not a sealed reason"),
    ],
)
def test_every_command_says_what_it_got_instead(
    program: str, arguments: tuple[str, ...], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHOOLKEEPER_OFFICER_HOME", str(tmp_path / "home"))
    files = {"FILE": tmp_path / "file", "KEY": tmp_path / "my.key", "CHANGE": tmp_path / "change"}
    files["FILE"].write_bytes(b"%PDF-1.7 of something")
    files["CHANGE"].write_bytes(b"")
    keyfile.save_keys(files["KEY"], KEYS, None)
    app = policy_cli.app if program == "policy" else officer_cli.app
    done = CliRunner().invoke(app, [str(files.get(one, one)) for one in arguments])
    assert done.exit_code in (1, 2), done.output
    said = " ".join(done.output.split())
    assert wanted in said
    assert "it looks like a PDF document" in said
    assert "Error parsing" not in said
    assert "Traceback" not in said


def test_answers_and_handed_in_keys_name_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(staged.StagedError, match=r"not an officer's signatures .*looks like a grant"):
        staged.read_answer(grant(), "answer")
    file = tmp_path / "public.json"
    file.write_text(json.dumps({"a": 1}))
    with pytest.raises(
        keyfile.KeyFileError, match="not the public part of an officer's keys; it looks like a JSON"
    ):
        keyfile.read_public(file)
    with pytest.raises(keyfile.KeyFileError, match="not the public part of a root key"):
        keyfile.read_public_root(file)


def test_fmt_says_which_file_is_no_text_and_forms_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "b.yaml").write_text("a:   1\n", encoding="utf-8")
    result = CliRunner().invoke(policy_cli.app, ["fmt", str(tmp_path)])
    assert result.exit_code == 1
    assert "a.yaml: not UTF-8 at byte 0; save it as UTF-8" in result.output
    assert (tmp_path / "b.yaml").read_text(encoding="utf-8") == "a: 1\n"


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    missing, latin, answers = (str(tmp_path / name) for name in ("missing", "latin.yaml", "answers.yaml"))
    Path(latin).write_bytes(b"name: \xe9\n")
    Path(answers).write_text("time_zone: Europe/Londn\n", encoding="utf-8")
    new = str(tmp_path / "new")
    for app, arguments, said in (
        (
            officer_cli.app,
            ["whoami", "--key", missing],
            "missing cannot be read (No such file or directory): put in",
        ),
        (
            policy_cli.app,
            ["init", new, "--answers", missing],
            "missing cannot be used (No such file or directory); name",
        ),
        (
            policy_cli.app,
            ["init", new, "--answers", latin],
            "latin.yaml is not UTF-8 at byte 6; save it as UTF-8",
        ),
        (
            policy_cli.app,
            ["init", new, "--answers", answers],
            "1:12: 'time_zone': write a name like Europe/London",
        ),
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code in (1, 2), arguments
        assert said in done.output, done.output
        assert "Errno" not in done.output
    assert not Path(new).exists()
