"""A laptop in a container: real systemd, logind, polkit, D-Bus, X and a locker, booted in about a second.

It has no udev and no block devices (the virtual laptop has). Every boot starts from the same tree through an
overlay in memory, so nothing that a test does to it stays.
"""

import contextlib
import io
import os
import shlex
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.lab.cache import LabError
from support.lab.cgroups import LaptopCgroups
from support.lab.commands import Result, die_with_parent
from support.lab.network import LabNetwork
from support.lab.tree import laptop_tree

TOOLS = ("systemd-nspawn", "nsenter", "unshare", "ip")
_BOOT_TIMEOUT = 120.0
_STOP_TIMEOUT = 15.0
_POLL = 0.03

# Within a mount namespace of its own: whatever ends the process also removes the mounts.
_BOOT_SCRIPT = """
mount -t tmpfs -o mode=755 laptop "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" laptop "$1/root"
shift 2
exec systemd-nspawn "$@"
"""


class Laptop:
    """One throw-away laptop for as long as the ``with`` block.

    Args:
        network: joined to it if given; otherwise the laptop has only its own loopback.
        at_gateway: takes the gateway's place in that network instead of the laptop's, as a server would.
        read_only: paths of this machine that it sees at the same place, unchangeable (for example a virtual
            environment built with Debian's Python, which the laptop also has).
    """

    def __init__(
        self, *, network: LabNetwork | None = None, at_gateway: bool = False, read_only: Sequence[Path] = ()
    ) -> None:
        self._network = network
        self._at_gateway = at_gateway
        self._read_only = tuple(read_only)
        self._stack = contextlib.ExitStack()
        self._leader = 0
        self.boot_seconds = 0.0

    def __enter__(self) -> Self:
        tree = laptop_tree()
        if not tree.is_built:
            raise LabError("the laptop tree is not built; `make lab` builds it")
        with contextlib.ExitStack() as stack:
            self._boot(tree.path, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def leader(self) -> int:
        """This machine's process id of the laptop's systemd."""
        return self._leader

    def sh(self, command: str, timeout: float = 120, *, user: str = "root", stdin: bytes = b"") -> Result:
        """Run a shell command inside, outside of every unit and session.

        Raises:
            LabError: it did not end within ``timeout`` seconds.
        """
        inner = (
            ["sh", "-c", command] if user == "root" else ["runuser", "-u", user, "--", "sh", "-c", command]
        )
        try:
            done = subprocess.run(
                self.entering(*inner), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabError(f"in the laptop, not done within {timeout:.0f} s: {command[:200]}") from None
        return Result(rc=done.returncode, out=done.stdout.decode(errors="replace"))

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file inside; missing folders are made."""
        name = shlex.quote(path)
        self.sh(f'mkdir -p "$(dirname {name})" && cat >{name} && chmod {mode:o} {name}', stdin=data).check()

    def get(self, path: str) -> bytes:
        """Read a file inside."""
        done = subprocess.run(self.entering("cat", "--", path), capture_output=True, timeout=120, check=False)
        if done.returncode != 0:
            raise LabError(f"no {path} in the laptop: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def copy_in(self, source: Path, destination: str) -> None:
        """Copy a file or a folder of this machine to the path ``destination`` inside; root owns the copy."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=Path(destination).name, filter=owned_by_root)
        parent = shlex.quote(str(Path(destination).parent))
        self.sh(f"mkdir -p {parent} && tar -xf - -C {parent}", 120, stdin=packed.getvalue()).check()

    def kill(self) -> None:
        """End it at once, as by the power switch; afterwards nothing can be asked of it."""
        os.kill(self._leader, signal.SIGKILL)
        self._stack.close()

    def entering(self, *command: str) -> list[str]:
        """What starts a command inside from here."""
        return ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", *command]

    def _boot(self, tree: Path, stack: contextlib.ExitStack) -> None:
        started = time.monotonic()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="schoolkeeper-laptop-")))
        cgroups = stack.enter_context(LaptopCgroups(folder.name))
        console = stack.enter_context((folder.parent / f"{folder.name}.console").open("wb+"))
        stack.callback((folder.parent / f"{folder.name}.console").unlink)
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", _BOOT_SCRIPT, "boot", folder, tree,
             *self._nspawn_options(folder / "root")],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=_in_cgroups(cgroups),
        )  # fmt: skip
        stack.callback(_stop, process)
        deadline = started + _BOOT_TIMEOUT
        while not self._is_up(process):
            if process.poll() is not None or time.monotonic() > deadline:
                console.seek(0)
                raise LabError(f"the laptop did not boot: {console.read()[-2000:].decode(errors='replace')}")
            time.sleep(_POLL)
        self.boot_seconds = time.monotonic() - started

    def _nspawn_options(self, root: Path) -> list[str]:
        network = self._network
        return [
            "--quiet", "--directory", str(root), "--machine=laptop", "--register=no", "--keep-unit", "--console=pipe",
            "--kill-signal=SIGRTMIN+3", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
            # i3lock refuses to run unless it can lock its page: the password must not reach swap.
            # And an agent inside decides on executions (see support.packages.detach_from_host first).
            "--capability=CAP_IPC_LOCK", "--system-call-filter=@memlock fanotify_init fanotify_mark",
            f"--network-namespace-path={self._namespace(network)}" if network else "--private-network",
            *(f"--bind-ro={path}" for path in self._read_only),
            "--boot",
        ]  # fmt: skip

    def _namespace(self, network: LabNetwork) -> Path:
        return network.gateway_namespace if self._at_gateway else network.laptop_namespace

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        self._leader = self._leader or _systemd_below(process.pid)
        if not self._leader:
            return False
        return self.sh("systemctl is-system-running").out.strip() in ("running", "degraded")


def _systemd_below(pid: int) -> int:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next(
            (int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "systemd\n"), 0
        )
    except (FileNotFoundError, ProcessLookupError):  # a child that ended while we looked
        return 0


def _in_cgroups(cgroups: LaptopCgroups) -> Callable[[], None]:
    die = die_with_parent(signal.SIGTERM)

    def arrange() -> None:
        os.setsid()
        die()
        cgroups.enter()

    return arrange


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A filter for ``tarfile``: whoever owns the file here, root owns it in the laptop."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
