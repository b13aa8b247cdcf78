"""What the processes of a run share is made once, and gone with the run, however that ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import shared
from support.patience import until

TESTS = Path(__file__).resolve().parents[2]
ASK_AND_DIE = """
import os, signal
from support import shared
run = shared.Run()
print(run.folder, shared.ask("postgres"), shared.ask("postgres"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.postgres
def test_it_is_made_once_and_gone_when_the_run_was_killed() -> None:
    others = {name: value for name, value in os.environ.items() if name != shared.PLACE}
    command = [sys.executable, "-c", ASK_AND_DIE]
    done = subprocess.run(command, cwd=TESTS, env=others, stdout=subprocess.PIPE, text=True, check=False)
    run, first, second = done.stdout.split()
    assert first == second
    assert first.partition("sk-postgres-")[2], "a server's folder"
    until(lambda: not Path(first).exists(), 30, "the server is stopped and its folder removed")
    until(lambda: not Path(run).exists(), 30, "nothing of the run is left")


def test_what_cannot_be_made_is_said_and_the_rest_goes_on() -> None:
    with pytest.raises(shared.SharedError, match="warm no/such: FileNotFoundError"):
        shared.ask("warm no/such")
    assert Path(shared.ask("warm schoolkeeper_policies.cli")).is_socket()
