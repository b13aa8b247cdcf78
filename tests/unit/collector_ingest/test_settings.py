"""Settings and databases that cannot be used: the error names the place and what to do, and nothing is half made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schoolkeeper_collector.config import ConfigError, load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("SCHOOLKEEPER_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "collector.toml"
    file.write_text("")
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", str(file))
    return file


def refusal() -> str:
    with pytest.raises(ConfigError) as told:
        load_settings()
    return str(told.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('consol_listen = "0.0.0.0:1"', ["consol_listen", "no such setting", "did you mean console_listen?"]),
        ("frobnicate = 1", ["frobnicate", "remove it", "smtp_host"]),
        ("smtp_port = 0", ["smtp_port", "greater than or equal to 1"]),
        ('console_listen = "x"', ["console_listen = 'x'", "host:port"]),
        ('enrol_listen = "0.0.0.0:70000"', ["enrol_listen", "host:port"]),
        ("database_url =", ["not TOML"]),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_the_remedy(
    config: Path, line: str, words: list[str]
) -> None:
    config.write_text(line + "\n")
    told = refusal()
    assert all(word in told for word in words), told


def test_a_file_that_is_named_and_not_there_does_not_mean_the_defaults(config: Path) -> None:
    config.unlink()
    told = refusal()
    assert str(config) in told
    assert "is not there: name another file in SCHOOLKEEPER_CONFIG" in told


def test_a_variable_that_nearly_names_a_setting_is_refused_and_others_are_nobody_s_business(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHOOLKEEPER_OFFICER_HOME", "/somewhere")
    load_settings()
    monkeypatch.setenv("SCHOOLKEEPER_DATABASE", "postgresql+psycopg://somebody@somewhere/school")
    assert "did you mean SCHOOLKEEPER_DATABASE_URL?" in refusal()


@pytest.mark.parametrize("name", ["health_listen", "console_listen"])
def test_without_health_or_console_nobody_is_asked_for_an_address(config: Path, name: str) -> None:
    config.write_text(f'{name} = ""\n')
    assert getattr(load_settings(), name) == ""


def test_a_file_that_cannot_be_read_is_named(config: Path) -> None:
    config.unlink()
    config.mkdir()
    told = refusal()
    assert str(config) in told
    assert "run this as" in told


def collector(state: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("SCHOOLKEEPER_")}
    environment = {
        **others,
        "SCHOOLKEEPER_STATE_DIR": str(state),
        "SCHOOLKEEPER_CONFIG": os.devnull,
        **more,
    }
    code = "from schoolkeeper_collector.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


NEW = ("init", "--school-id", "tests.example", "--name", "Tests", "--address", "127.0.0.1", "--demo")


def test_a_school_that_cannot_be_made_leaves_nothing_and_a_damaged_database_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = collector(state, *NEW, "--pack", "no-such-pack")
    assert done.returncode == 1
    assert "there is no such pack" in done.stderr
    assert list(state.iterdir()) == []
    done = collector(Path("/proc/nowhere"), *NEW)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "nothing can be made in /proc/nowhere" in done.stderr
    assert collector(state, *NEW).returncode == 0
    (state / "collector.db").write_bytes(b"no database " * 4_000)
    for command in (("fsck",), ("token", "create", "--group", "ks2-laptops")):
        done = collector(state, *command)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert "a database is damaged" in done.stderr
        assert "backup" in done.stderr
