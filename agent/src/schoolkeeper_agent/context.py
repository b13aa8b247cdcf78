"""What sensors and enforcers are built with. Folders are arguments, so that a test can point them at its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.guard.door import Guard, of_environment
from schoolkeeper_agent.system import here
from schoolkeeper_proto.bundle import OpenBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where things lie and what this process may do.

    ``exec_mounts`` None means every real file system; a tuple of mount points limits the exec responder to them.
    ``root_pid`` limits the process sensor of audit mode to one process tree (0: every process it may read).
    """

    bundle: OpenBundle
    run_dir: Path
    has_root: bool = field(default_factory=here.is_administrator)
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    etc_root: Path = Path("/etc")
    run_root: Path = Path("/run")
    exec_mounts: tuple[Path, ...] | None = None
    root_pid: int = 0
    browser_root: Path | None = None
    """Where browsers look for their policies (``/etc``); None: they are left alone."""
    system_bus: str = "unix:path=/run/dbus/system_bus_socket"
    state_dir: Path = here.STATE_FOLDER
    collectors: Callable[[], tuple[str, ...]] = tuple
    """``host:port`` of everything that the collector is reached by: its listeners, or the proxy before them."""
    heard: Callable[[], int] = int
    """How many messages of the collector came so far."""
    guard: Guard | None = field(default_factory=of_environment)
    """Who does what this process has no right to, in the packaged service; None: it does so itself."""
