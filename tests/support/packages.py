"""The product's Debian packages of this checkout, and laptops that they are installed in.

`debian_package` builds what changed (seconds when nothing did). `detach_from_host` must come before an agent: the exec
responder marks whole file systems, and a laptop in a container shows one of this machine's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.lab.cache import REPOSITORY, LabError
from support.lab.desktop import Machine
from support.lab.nspawn import Laptop

KEPT = REPOSITORY / ".cache/packages/for-tests"
NEXT_VERSION = "0.1.1+lab"
"""A higher version than any that pyproject.toml names today: the same sources, for an upgrade."""
PASSPHRASE = "correct horse battery staple"
GATEWAY = "10.77.0.1"
IDLE_SECONDS = 30
"""The least that a policy may say."""
UNITS = REPOSITORY / "packaging/linux/agent"
AGENT_UNIT = UNITS / "schoolkeeper-agent.service"
GUARD_UNIT = UNITS / "schoolkeeper-guard@.service"
GUARD_SOCKET = UNITS / "schoolkeeper-guard.socket"
PROBE = REPOSITORY / "tests/lab/programs/agent_rights.py"
AGENT_PYTHON = "/usr/lib/schoolkeeper-agent/bin/python3"
COLLECTOR_PYTHON = "/usr/lib/schoolkeeper-collector/bin/python3"
COLLECTOR_CODE = "/usr/lib/schoolkeeper-collector/lib/python3.11/site-packages"


def debian_package(
    which: str, *, version: str = "", out: Path = KEPT, checkout: Path = REPOSITORY, quick: bool | None = None
) -> Path:
    """The .deb of ``agent``, ``collector`` or ``officer``, built from this checkout or another.

    ``quick`` ones are compressed less, which is most of a build's time: by default all but the officer's, which is
    compressed as a release is.
    """
    if quick is None:
        quick = which != "officer" or bool(version)
    wanted = ["--version", version] if version else []
    wanted += ["--quick"] if quick else []
    done = subprocess.run(
        [sys.executable, checkout / "packaging/linux/build.py", which, "--out", out, *wanted],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "SCHOOLKEEPER_PACKAGES_CACHE": ""},
        check=False,
    )
    found = re.search(r"^  packages  (\S+\.deb)", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise LabError(f"no package was built: {done.stdout}{done.stderr}")
    return checkout / found[1]


def copy_of_sources(folder: Path) -> Path:
    """What the packages are built from, elsewhere and without any cache."""
    for part in ("proto", "policies", "agent", "collector", "packaging"):
        shutil.copytree(
            REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "tests")
        )
    shutil.copy(REPOSITORY / "CHANGELOG.md", folder)
    return folder


def detach_from_host(laptop: Laptop) -> None:
    """Unmounts what systemd-nspawn shows of this machine, so that no mark can touch a file system that is not ours."""
    laptop.sh("umount -R /run/host").check()
    ours = {place.stat().st_dev for place in (Path("/"), REPOSITORY, Path.home())}
    shown = laptop.sh("cat /proc/self/mountinfo").check()
    for line in shown.splitlines():
        major, _, minor = line.split()[2].partition(":")
        if os.makedev(int(major), int(minor)) in ours:
            raise LabError(f"the laptop still sees a file system of this machine: {line}")


def install(laptop: Laptop, package: Path) -> str:
    """What dpkg said. Offline: every dependency is in the laptop's tree, or dpkg refuses."""
    place = f"/root/{package.name}"
    laptop.copy_in(package, place)
    return laptop.sh(f"DEBIAN_FRONTEND=noninteractive dpkg --install {place} 2>&1", 120).check()


def make_school(machine: Laptop, *, address: str = GATEWAY, pack: str = "default") -> str:
    """``init`` in a machine with the collector installed, then its service; returns what init printed."""
    machine.put("/root/passphrase", PASSPHRASE.encode(), 0o600)
    said = machine.sh(
        f"schoolkeeper-collector init --school-id lab.example --name 'Lab School' --address {address}"
        f" --group ks2-laptops --pack {pack} --passphrase-file /root/passphrase",
        120,
    ).check()
    machine.sh("systemctl start schoolkeeper-collector").check()
    return said


def short_pack(machine: Laptop) -> str:
    """The default pack as it was installed, with waits that a test can wait for; returns its folder."""
    machine.sh(
        f"cp -r {COLLECTOR_CODE}/schoolkeeper_policies/packs/default /root/pack"
        f" && sed -i 's/idle_lock_seconds: .*/idle_lock_seconds: {IDLE_SECONDS}/; s/warn_seconds: .*/warn_seconds: 0/'"
        " /root/pack/screen.yaml"
        " && sed -i 's/heartbeat_seconds: .*/heartbeat_seconds: 30/' /root/pack/collection.yaml"
    ).check()
    return "/root/pack"


def capabilities_of(unit: Path) -> list[str]:
    """Those that it names."""
    return next(
        line.partition("=")[2].split()
        for line in unit.read_text().splitlines()
        if line.startswith("CapabilityBoundingSet=")
    )


def agent_unit_with(program: str, *, capabilities: list[str], type_: str = "oneshot") -> str:
    """The agent's own unit with another program in it, whose output goes to /run/said."""
    return _unit_with(
        AGENT_UNIT,
        {
            "Type": type_,
            "ExecStart": program,
            "CapabilityBoundingSet": " ".join(capabilities),
            "Restart": "no",
            "WatchdogSec": "0",
            "RuntimeDirectory": "probe",
            "StateDirectory": "probe",
            "Environment": "TMPDIR=/run/probe SCHOOLKEEPER_GUARD=/run/schoolkeeper-guard/socket"
            "\nStandardOutput=truncate:/run/said\nStandardError=inherit",
        },
    )


def guard_unit_with(program: str, *, capabilities: list[str]) -> str:
    """The guard's, for a program that is asked nothing."""
    return _unit_with(
        GUARD_UNIT,
        {
            "ExecStart": program,
            "CapabilityBoundingSet": " ".join(capabilities),
            "StandardInput": "null\nType=oneshot",
            "StandardOutput": "truncate:/run/said",
            "StandardError": "inherit",
        },
    )


def _unit_with(path: Path, changes: dict[str, str]) -> str:
    unit = path.read_text()
    for key, value in changes.items():
        unit, times = re.subn(rf"^{key}=.*$", f"{key}={value}", unit, flags=re.MULTILINE)
        if times != 1:
            raise LabError(f"{path} has {times} lines {key}=")
    return unit


def prepare_probe(machine: Machine) -> None:
    """The program that tries one thing for each right, a process of the pupil's, and a file that only they may read."""
    machine.put("/srv/probe.py", PROBE.read_bytes())
    machine.sh(
        "runuser -u pupil -- sh -c 'umask 077; mkdir ~/private; echo mine >~/private/essay;"
        " sleep 600 >/dev/null 2>&1 </dev/null & echo $! >/tmp/another'"
    ).check()


def probe_rights(machine: Machine, unit: Path, capabilities: list[str]) -> dict[str, bool]:
    """What worked in the agent's unit, or the guard's, with only these capabilities."""
    another = machine.sh("cat /tmp/another").check().strip()
    program = f"{AGENT_PYTHON} -I /srv/probe.py {another} /home/pupil/private/essay"
    make = agent_unit_with if unit == AGENT_UNIT else guard_unit_with
    machine.put("/etc/systemd/system/probe.service", make(program, capabilities=capabilities).encode())
    machine.sh("systemctl daemon-reload && systemctl start probe", 120).check()
    found = json.loads(machine.sh("cat /run/said").check())
    if not isinstance(found, dict):
        raise LabError(f"the probe said {found!r}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An event in the collector's store; ``body`` is shown as Python shows it. ``id`` was given on the device."""

    number: int
    kind: str
    id: str
    place: tuple[str, str, int]
    body: str


def arrived(machine: Laptop) -> list[Arrived]:
    """Every event that the collector installed in ``machine`` holds, in order."""
    reader = _reader(machine)
    assert reader.stdin is not None
    assert reader.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        reader.stdin.write("\n")
        reader.stdin.flush()
    said = reader.stdout.readline()
    if not said:
        raise LabError(f"the collector's store cannot be read: {reader.communicate()[1]}")
    return [Arrived(**{**item, "place": tuple(item["place"])}) for item in json.loads(said)]


@cache
def _reader(machine: Laptop) -> subprocess.Popen[str]:
    """A process in the machine that lists the events for each line: tests ask often, and imports take a second."""
    return subprocess.Popen(
        machine.entering(COLLECTOR_PYTHON, "-I", "-c", _LIST),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


_LIST = """
import json, sys
from contextlib import closing
from schoolkeeper_collector.config import load_settings
from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.events import events_after
settings = load_settings()
school_id = load_keys(settings.state_dir).school_id
for _ in sys.stdin:
    with closing(open_store(settings.store_url, settings.keys_url)) as store, store.read() as connection:
        found = events_after(connection, store.keystore, school_id, 0, 100_000)
    print(json.dumps([
        {"number": e.event_no, "kind": e.event.body.KIND, "id": e.event.id.hex(), "body": repr(e.event.body),
         "place": [e.epoch.hex(), e.lane.value, e.sequence]} for e in found
    ]), flush=True)
"""
