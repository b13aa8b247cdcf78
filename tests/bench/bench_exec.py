"""What a decision adds to starting a program: asked each time, and where the kernel need not ask; fapolicyd beside it.

    python tests/bench/bench_exec.py [--rounds N] [--starts N]

Four file systems hold the same small program. A spawner in C starts it on each, in changing order, so that a noisy
machine is noisy for all of them; a row's figure is the median over rounds of (its median - the unmarked median).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import harness
from harness import CannotMeasure, Report, Row
from peers import fapolicyd

from schoolkeeper_proto.policy import MatchBy
from support.exec_guard import Guard, guard_on, responder_of, rule

UNCACHED_GOAL, CACHED_GOAL, RESPONDER_MIB = 0.75, 0.35, 16.0
SLOWED_BY_US = 300
_CLONE_NEWNS = 0x20000
HERE = Path(__file__).parent


def measure(report: Report, arguments: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise CannotMeasure("needs root: it mounts file systems and marks them")
    if shutil.which("gcc") is None:
        raise CannotMeasure("gcc is not installed: the spawner is compiled here")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise CannotMeasure("no mount namespace of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with harness.scratch("exec") as folder, file_systems() as mounted:
        spawner, program = compiled(folder)
        for point in mounted.values():
            shutil.copy(program, point / "program")
        (mounted["asked"] / "program").chmod(0o777)  # people may change it: the kernel asks each time
        asyncio.run(_measure(report, arguments, spawner, folder, mounted))


async def _measure(
    report: Report, arguments: argparse.Namespace, spawner: Path, folder: Path, mounted: dict[str, Path]
) -> None:
    async with both_guards(mounted, folder) as guards:
        memory = harness.memory_mib(responder_of(guards[0].enforcer.responder_pid))["rss"]
        try:
            with fapolicyd.running(folder, mounted["peer"]) as peer:
                added = rounds(spawner, mounted, arguments, ["asked", "ignored", "peer"])
                slowed = slow_down(spawner, mounted, arguments, peer)
        except CannotMeasure as reason:
            added = rounds(spawner, mounted, arguments, ["asked", "ignored"])
            slowed = None
            report.add(Row(goal="8", what="peer: fapolicyd", note=f"not measured: {reason}"))
    report.detail = {"added_us": added, "starts": arguments.starts, "slowed_us": slowed}
    for name, what, goal in (
        ("asked", "exec added at the median, asked each time (SHA-256)", UNCACHED_GOAL),
        ("ignored", "exec added at the median, repeated, root-owned", CACHED_GOAL),
    ):
        ours = harness.median(added[name])
        peer_us = harness.median(added["peer"]) if "peer" in added else None
        ratio = ours / peer_us if peer_us else None
        report.add(
            Row(
                goal="8", what=what, ours=f"{ours:.1f} us", peer="-" if peer_us is None else f"{peer_us:.1f} us",
                ratio=ratio, target=f"<= {goal} x", reached=None if ratio is None else ratio <= goal,
            )
        )  # fmt: skip
    report.add(
        Row(
            goal="6",
            what="exec responder, RSS",
            ours=f"{memory:.1f} MiB",
            target="<= 16 MiB",
            reached=memory <= RESPONDER_MIB,
        )
    )
    if slowed is not None:
        report.add(
            Row(
                goal="", what=f"peer slowed ({SLOWED_BY_US} us an answer): its figure rises", peer=f"{slowed:.0f} us",
                target=f">= {SLOWED_BY_US} us", reached=slowed >= SLOWED_BY_US,
            )
        )  # fmt: skip


def rounds(
    spawner: Path, mounted: dict[str, Path], arguments: argparse.Namespace, names: list[str]
) -> dict[str, list[float]]:
    """Microseconds added in each round, by file system."""
    for name in ("plain", *names):
        spawn(spawner, mounted[name], 50)
    added: dict[str, list[float]] = {name: [] for name in names}
    shuffled = random.Random(8)
    for _ in range(arguments.rounds):
        order = ["plain", *names]
        shuffled.shuffle(order)
        took = {name: spawn(spawner, mounted[name], arguments.starts) for name in order}
        for name in names:
            added[name].append(took[name] - took["plain"])
    return added


def slow_down(
    spawner: Path, mounted: dict[str, Path], arguments: argparse.Namespace, peer: int
) -> float | None:
    """What the peer adds while each of its answers is held up: the proof that it is the peer that is measured."""
    if shutil.which("strace") is None:
        return None
    held = f"--inject=write:delay_enter={SLOWED_BY_US}"
    tracer = harness.start(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=write", held, "-p", str(peer)]
    )
    try:
        time.sleep(0.5)
        return spawn(spawner, mounted["peer"], arguments.starts) - spawn(
            spawner, mounted["plain"], arguments.starts
        )
    finally:
        harness.end(tracer)


def spawn(spawner: Path, place: Path, starts: int) -> float:
    """Median microseconds of one start."""
    done = subprocess.run(
        [spawner, str(starts), place / "program"], capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout.split()[0])


def compiled(folder: Path) -> tuple[Path, Path]:
    """The spawner and the smallest program there is."""
    spawner, program = folder / "spawner", folder / "program"
    subprocess.run(["gcc", "-O2", "-o", spawner, HERE / "spawner.c"], check=True)
    source = "int main(void) { return 0; }"
    command = ["gcc", "-x", "c", "-Os", "-static", "-s", "-o", program, "-"]
    subprocess.run(command, input=source, text=True, check=True)
    return spawner, program


@contextmanager
def file_systems() -> Iterator[dict[str, Path]]:
    """Not below /tmp: where everybody may write, nothing is exempt from being asked."""
    base = Path(tempfile.mkdtemp(prefix="schoolkeeper-bench-", dir="/run"))
    mounted = {}
    try:
        for name, kind in (("plain", "ext4"), ("asked", "ext4"), ("ignored", "ext4"), ("peer", "ramfs")):
            (base / name).mkdir()
            source = f"bench-{name}"
            if kind == "ext4":
                source = str(base / f"{name}.img")
                Path(source).write_bytes(b"")
                os.truncate(source, 16 << 20)
                subprocess.run(["mkfs.ext4", "-q", source], check=True)
            subprocess.run(["mount", "-t", kind, source, base / name], check=True)
            mounted[name] = base / name
        yield mounted
    finally:
        for point in mounted.values():
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(base, ignore_errors=True)


@asynccontextmanager
async def both_guards(mounted: dict[str, Path], folder: Path) -> AsyncIterator[tuple[Guard, Guard]]:
    """One responder per file system, both with a rule by hash, so that each file is examined."""
    rules = [rule("by-hash", MatchBy.SHA256, "0" * 64)]
    rules += [rule(f"path-{number}", MatchBy.PATH, f"/opt/program-{number}") for number in range(200)]
    async with (
        guard_on(mounted["asked"], folder / "run-1") as asked,
        guard_on(mounted["ignored"], folder / "run-2") as ignored,
    ):
        await asked.decide_by(*rules)
        await ignored.decide_by(*rules)
        yield asked, ignored


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--starts", type=int, default=150)
    harness.main("exec", measure, parser)
