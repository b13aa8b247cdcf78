"""`make demo`: a collector, this machine as a device, and a real event that becomes an incident on the console.

--check   without a person: exits 0 only when the event became an incident whose inclusion proof verified
--fleet N simulated devices beside the real one, clearly marked, playing the model school week faster than real time
--clean   ends what runs and leaves nothing
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from children import ChildError, Children, end_forgotten, tail
from console import VisitError, Visitor
from machine import Machine
from school import PASSWORD, Looking, School, make_school
from stages import StageError, Stages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SCHOOLKEEPER_DEMO_FOLDER", ROOT / ".cache" / "demo"))
BIN = ROOT / ".venv" / "bin"


@dataclass(slots=True, kw_only=True)
class Demo:
    """One run. Everything lies under ``FOLDER``."""

    stages: Stages
    children: Children
    machine: Machine
    enforcing: bool = False

    # ---- what it does ---------------------------------------------------------------------------------

    def run(self, *, check: bool, fleet: int) -> int:
        school = self._start_collector()
        self._start_agent(school)
        if fleet:
            self._start_fleet(school, fleet)
        dsl = school.visitor("dsl")
        dsl.sign_in()
        self.stages.reached("the DSL is signed in at the console", "password and second factor")
        self._event_to_incident(school, dsl)
        if check:
            self.stages.say("check: a real event became an incident, and its inclusion proof verified")
            return 0
        self._invite(school)
        return 0

    def _start_collector(self) -> School:
        self.stages.say("making a school; its keys have NO passphrase: this is a demonstration")
        school = make_school(FOLDER / "collector")
        self.stages.reached("a school is made", "roots of trust, keys, certificates, policy, three accounts")
        self.children.start(
            "collector", str(BIN / "schoolkeeper-collector"), "run", environment=school.environment
        )
        self._wait("the collector and its console answer", lambda: _answers(school), 120)
        return school

    def _start_agent(self, school: School) -> None:
        mounted = self.machine.prepare()
        folder = FOLDER / "agent"
        folder.mkdir(mode=0o700)
        config = folder / "agent.toml"
        config.write_text(self._agent_settings(folder, mounted=mounted))
        agent = [str(BIN / "schoolkeeper-agent"), "--config", str(config)]
        enrol = [*agent, "enrol", f"127.0.0.1:{school.ports.enrol}", "--token", school.token(1)]
        done = subprocess.run(enrol, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageError(f"this machine could not be enrolled: {done.stderr.strip()}")
        self.stages.reached("this machine is enrolled", done.stdout.splitlines()[0])
        self.enforcing = mounted
        if not mounted:
            why = "without root" if os.geteuid() else "no file system may be mounted here"
            self.stages.say(f"could not do: refuse a program ({why}); its start is observed instead")
        self.children.start("agent", *agent, "run")
        self._wait(
            "the agent runs and its first heartbeat is in the collector", self._kind(school, "heartbeat"), 60
        )

    def _agent_settings(self, folder: Path, *, mounted: bool) -> str:
        """Only the demonstration's own file system is marked; nothing else of this machine is decided on."""
        lines = [f'state_dir = "{folder / "state"}"', f'run_dir = "{folder / "run"}"']
        if mounted:
            lines.append(f'exec_mounts = ["{self.machine.folder}"]')
        else:
            lines.append("audit_only = true")
        return "\n".join(lines) + "\n"

    def _start_fleet(self, school: School, devices: int) -> None:
        self.children.start(
            "fleet",
            str(BIN / "python"),
            str(ROOT / "tests/support/fleet/run.py"),
            *("--collector", f"127.0.0.1:{school.ports.enrol}", "--token", school.token(devices)),
            *("--devices", str(devices), "--minutes", "600"),
        )
        self.stages.say(f"{devices} SIMULATED devices play the model school week; the console marks them")

    def _event_to_incident(self, school: School, dsl: Visitor) -> None:
        attempt = self.machine.attempt()
        self.stages.reached("the program was started on this machine", attempt.detail)
        if self.enforcing and not attempt.refused:
            raise StageError(f"the agent should have refused {self.machine.program}, but {attempt.detail}")
        kind = "application.refused" if attempt.refused else "application.started"
        store = school.store()
        try:
            looking = Looking(store, kind, str(self.machine.program))
            self._wait("the event is in the collector's log", looking.stored, 60)
            self._wait("a rule matched: an alert", looking.alerted, 60)
            self._wait("an incident was raised", looking.raised, 60)
            self._wait("the incident is on the DSL's screen", lambda: _shown(dsl), 60)
            self._wait("the event's proof verifies", lambda: looking.proved(school.folder), 60)
        finally:
            store.close()

    def _invite(self, school: School) -> None:
        say = self.stages.say
        say("")
        say(f"console    {school.console_address}")
        for login, factor in school.factors.items():
            say(f"sign in    {login:<11} password: {PASSWORD}   second factor key: {factor}")
        say("           put the key into an authenticator app, or print a code with:")
        say(
            f"           {BIN}/python -c \"import pyotp; print(pyotp.TOTP('{school.factors['dsl']}').now())\""
        )
        say(f"try        in a second terminal: {self.machine.program} 2")
        say(f"           {BIN}/schoolkeeper-agent --config {FOLDER}/agent/agent.toml status")
        say("stop       Ctrl-C; `make demo-clean` leaves nothing")
        while True:
            self.children.check()
            time.sleep(1)

    # ---- helpers --------------------------------------------------------------------------------------

    def _wait(self, hop: str, look, seconds: float) -> str:  # type: ignore[no-untyped-def]
        return self.stages.wait(hop, look, seconds, self.children.check)

    def _kind(self, school: School, kind: str):  # type: ignore[no-untyped-def]
        def look() -> str | None:
            store = school.store()
            try:
                return Looking(store, kind).stored()
            finally:
                store.close()

        return look


def _answers(school: School) -> str | None:
    try:
        Visitor(address=school.console_address, login="", password="", second_factor="").page("/sign-in")
    except VisitError:
        return None
    return school.console_address


def _shown(dsl: Visitor) -> str | None:
    paths = dsl.incidents()
    if not paths:
        return None
    page = dsl.page(paths[0])
    return f"{dsl.address}{paths[0]}" if "<h1" in page else None


def clean(stages: Stages) -> int:
    """Ends what runs and removes everything. Safe to repeat."""
    if not FOLDER.exists():
        stages.say("nothing to clean")
        return 0
    for name in end_forgotten(FOLDER):
        stages.say(f"ended {name}")
    Machine(folder=FOLDER / "programs").remove()
    shutil.rmtree(FOLDER)
    stages.say("nothing of the demonstration is left")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="run unattended and say whether all of it works")
    what.add_argument("--clean", action="store_true", help="end and remove everything of the demonstration")
    parser.add_argument("--fleet", type=int, default=0, metavar="N", help="simulated devices beside this one")
    arguments = parser.parse_args()
    stages = Stages()
    if arguments.clean:
        return clean(stages)
    if not 0 <= arguments.fleet <= 500:
        parser.error("--fleet takes 0 to 500 devices")
    if FOLDER.exists():
        clean(stages)
    FOLDER.mkdir(parents=True)
    demo = Demo(stages=stages, children=Children(folder=FOLDER), machine=Machine(folder=FOLDER / "programs"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return demo.run(check=arguments.check, fleet=arguments.fleet)
    except KeyboardInterrupt:
        stages.say("stopping")
        return 0
    except (StageError, ChildError, VisitError, RuntimeError) as error:
        sys.stderr.write(f"demo: FAILED: {error}\n")
        sys.stderr.write(f"demo: the event was last seen at: {stages.last}\n")
        for name in demo.children.running:
            sys.stderr.write(f"demo: {tail(demo.children.log(name))}\n")
        return 1
    finally:
        demo.children.stop_all()
        demo.machine.remove()


if __name__ == "__main__":
    sys.exit(main())
