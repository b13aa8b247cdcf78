"""A real collector on this machine, and the agent on Windows' Python under Wine: they meet on loopback."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from support.lab.windows import Wine, windows_path
from support.school_stage import Stage

PROGRAM = "import sys; from schoolkeeper_agent.cli import main; raise SystemExit(main())"

_TERMINATE = """
import psutil, sys
found = [one for one in psutil.process_iter() if sys.argv[1] in one.cmdline() and "run" in one.cmdline()]
assert len(found) == 1, found
found[0].kill()
"""


@dataclass
class WindowsStage(Stage):
    """``command`` starts the agent; by default its sources, by ``wine``'s Python."""

    wine: Wine = None  # type: ignore[assignment]  # fields before it have defaults
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.command:
            self.command = (str(self.wine.python), "-X", "utf8", "-c", PROGRAM)

    def write_config(self, **settings: object) -> None:
        values = {
            "state_dir": windows_path(self.state),
            "run_dir": windows_path(self.folder / "run"),
        } | settings
        self.config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))

    def enrol(self) -> None:
        """By the program itself: the base class calls this machine's own code instead, which is Linux's."""
        done = self.tell_agent("enrol", f"127.0.0.1:{self.enrol_port}", "--token", self.token())
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, object]:
        found = json.loads(self.tell_agent("status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    def tell_agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.wine.run(*self.command, "--config", windows_path(self.config), *arguments)

    def start_agent(self) -> None:
        """Its service would start it so: the end of its standard input is the request to end."""
        stoppable = Wine(folder=self.wine.folder, environment={"SCHOOLKEEPER_STOP": "stdin"})
        with (self.folder / "agent.log").open("ab") as log:
            # Under Wine a program that is given a file to write to does not begin; through a pipe it does.
            relay = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert relay.stdin is not None
        with relay.stdin as said:
            self.agent = stoppable.start(
                *self.command, "--config", windows_path(self.config), "run", stdout=said, stderr=said
            )

    def stop_agent(self) -> int:
        assert self.agent is not None
        assert self.agent.stdin is not None
        self.agent.stdin.close()
        return self.agent.wait(120)

    def terminate_agent(self) -> None:
        """As the task manager ends a program (TerminateProcess); whatever it started goes on or not, by itself."""
        assert self.agent is not None
        self.wine.run_python(_TERMINATE, windows_path(self.config))
        self.agent.wait(120)
