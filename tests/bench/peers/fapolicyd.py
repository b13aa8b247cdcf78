"""fapolicyd on one file system, in a mount namespace of the bench's own: nothing of the machine's is changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness

_CONFIGURATION = """permissive = 1
nice_val = 14
q_size = 640
uid = 0
gid = 0
do_stat_report = 0
detailed_report = 0
db_max_size = 50
subj_cache_size = 1549
obj_cache_size = 8191
watch_fs = ramfs
trust = file
integrity = sha256
syslog_format = rule,dec,perm,auid,pid,exe,:,path,ftype,trust
rpm_sha256_only = 0
allow_filesystem_mark = 0
"""
_RULES = "allow perm=any all : trust=1\ndeny_audit perm=execute all : all\nallow perm=open all : all\n"


@contextmanager
def running(folder: Path, mount_point: Path) -> Iterator[int]:
    """Its process id, watching the ramfs at ``mount_point``; call it in a private mount namespace as root.

    Raises CannotMeasure when it is not installed or does not start.
    """
    program = shutil.which("fapolicyd", path="/usr/sbin:/usr/bin:/sbin")
    if program is None:
        raise harness.CannotMeasure("fapolicyd is not installed (`make lab` installs it)")
    for name, target in (("etc", "/etc/fapolicyd"), ("var", "/var/lib/fapolicyd"), ("run", "/run/fapolicyd")):
        (folder / name).mkdir()
        Path(target).mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", folder / name, target], check=True)
    (folder / "etc" / "fapolicyd.conf").write_text(_CONFIGURATION)
    (folder / "etc" / "compiled.rules").write_text(_RULES)
    trusted = [f"{one} {one.stat().st_size} {_sha256(one)}\n" for one in sorted(mount_point.iterdir())]
    (folder / "etc" / "fapolicyd.trust").write_text("".join(trusted))
    (folder / "etc" / "trust.d").mkdir()
    said = folder / "said"
    child = harness.start([program, "--debug-deny", "--permissive"], said=said)
    try:
        deadline = time.monotonic() + 20
        while b"Starting to listen" not in said.read_bytes():
            if child.poll() is not None or time.monotonic() > deadline:
                raise harness.CannotMeasure(f"fapolicyd did not start: {said.read_text()[-300:].strip()}")
            time.sleep(0.05)
        yield child.pid
    finally:
        harness.end(child)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
