"""Which file an interpreter or the loader was given: by its command line alone, and no word more."""

from __future__ import annotations

import shlex

import pytest

from schoolkeeper_agent.sensors.linux.scripts import is_loader, runs_others, script_of


@pytest.mark.parametrize(
    ("program", "line", "found"),
    [
        ("dash", "sh game.sh now", "/home/ann/game.sh"),
        ("bash", "bash -x -- ./game.sh", "/home/ann/game.sh"),
        ("bash", "bash --rcfile rc ../game.sh", "/home/game.sh"),
        ("bash", "-bash", ""),
        ("bash", "bash -c 'cat game.sh'", ""),
        ("bash", "bash -xc 'cat game.sh'", ""),
        ("bash", "bash -o pipefail /opt/game.sh", "/opt/game.sh"),
        ("bash", "bash -opipefail /opt/game.sh", "/opt/game.sh"),
        ("dash", "sh -s word", ""),
        ("dash", "sh -", ""),
        ("python3.11", "python3 -B game.py --level 3", "/home/ann/game.py"),
        ("python3.11", "python3 -W ignore -X dev game.py", "/home/ann/game.py"),
        ("python3.11", "python3 -m games.chess", "/home/ann/games/chess.py"),
        ("python3.11", "python3 notes.py -m games", "/home/ann/notes.py"),
        ("python3.11", "python3 -c 'print(1)' game.py", ""),
        ("python3.11", "python3", ""),
        ("perl5.36", "perl -w game.pl", "/home/ann/game.pl"),
        ("perl", "perl -ne print file", ""),
        ("busybox", "busybox sh game.sh", "/home/ann/game.sh"),
        ("busybox", "ash game.sh", "/home/ann/game.sh"),
        ("busybox", "busybox cat game.sh", ""),
        ("java", "java -Xmx1g -jar game.jar", "/home/ann/game.jar"),
        ("java", "java Game.java", "/home/ann/Game.java"),
        ("java", "java -cp lib Game", ""),
        ("gawk", "awk -f game.awk data", "/home/ann/game.awk"),
        ("gawk", "awk '{print}' data", ""),
        ("wine", "wine game.exe", "/home/ann/game.exe"),
        ("ld-linux-x86-64.so.2", "ld.so ./game", "/home/ann/game"),
        ("ld-linux-x86-64.so.2", "ld.so --library-path . --argv0 x /opt/game", "/opt/game"),
        ("ld-linux-x86-64.so.2", "ld.so --verify /opt/game", ""),
        ("ld-2.36.so", "ld.so /opt/game", "/opt/game"),
        ("gedit", "gedit game.sh", ""),
        ("cat", "cat game.sh", ""),
    ],
)
def test_the_file_that_is_run(program: str, line: str, found: str) -> None:
    assert script_of(program, shlex.split(line), "/home/ann") == found
    assert runs_others(program) or not found


def test_a_process_that_is_gone_names_nothing() -> None:
    assert script_of("dash", [], "") == ""
    assert script_of("dash", ["sh", "game.sh"], "") == "", "without its folder the place is not known"
    assert script_of("dash", ["sh", *["-x"] * 100, "game.sh"], "/") == "", "so many words nobody reads"


def test_what_the_loader_runs_is_a_program() -> None:
    assert is_loader("/lib64/ld-linux-x86-64.so.2")
    assert is_loader("/lib/ld-linux-aarch64.so.1")
    assert not is_loader("/usr/bin/ld")
    assert not is_loader("/usr/bin/dash")
