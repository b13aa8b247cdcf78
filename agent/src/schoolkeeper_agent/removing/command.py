"""``schoolkeeper-agent uninstall``: the reason first, then the package manager.

Exit codes: 0 removed, 1 not removed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.removing.lines import MAX_LINE, MOST_REASON, MOST_WAIT, NAME

PACKAGE = "schoolkeeper-agent"
LEAST_REASON = 3
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ANSWER_S = 15.0
"""Besides the time in which the event may be delivered."""
_PRERM_WAIT = 5


class NotHeard(Exception):
    """Nobody wrote the removal down; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """``known``: it was said already. ``pending``: events in the spool that the school does not have."""

    delivered: bool = False
    known: bool = False
    pending: int = 0


def uninstall_main(run_dir: Path, state_dir: Path, *, reason: str, wait: int, even_unrecorded: bool) -> int:
    """Writes the reason down, waits at most ``wait`` seconds until the school has it, and removes the package."""
    reason = reason.strip()
    if fault := unfit(reason) or ("" if 0 <= wait <= MOST_WAIT else f"--wait is 0 to {MOST_WAIT} seconds"):
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("error: only root may remove the agent: run this with sudo", file=sys.stderr)
        return 1
    if fault := _cannot_be_removed():
        print(f"error: {fault}; nothing was changed", file=sys.stderr)
        return 1
    if not _say_why(run_dir, state_dir, reason, wait, even_unrecorded):
        return 1
    code = _dpkg("--remove", PACKAGE)
    if code != 0:
        print(f"error: dpkg did not remove it (exit code {code}; what it said is above)", file=sys.stderr)
        _say_failed(run_dir, reason)
        return 1
    print(f"Removed. Identity and spool stay in {state_dir}; `apt purge {PACKAGE}` destroys them.")
    return 0


def seen_by_package_manager(run_dir: Path) -> int:
    """What ``prerm`` runs: the school hears that it is removed, also when nobody said why. Always 0, and soon."""
    try:
        heard = tell(run_dir, state="begun", by="package manager", wait=_PRERM_WAIT)
    except NotHeard:
        return 0
    if not heard.known:
        became = "the school was told so" if heard.delivered else "the school has not heard of it yet"
        print(f"{PACKAGE}: removed without a reason; {became}", file=sys.stderr)
    return 0


def unfit(reason: str) -> str:
    """Why this is no reason; empty when it is one."""
    if len(reason) < LEAST_REASON:
        return f"--reason needs a reason, for example --reason 'sold, serial 4711' ({LEAST_REASON} characters or more)"
    if len(reason) > MOST_REASON:
        return f"--reason is {len(reason)} characters long; at most {MOST_REASON} are kept"
    if not reason.isprintable():
        return "--reason is one line of plain text, without control characters"
    return ""


def tell(run_dir: Path, *, state: str, by: str, reason: str = "", wait: int = 0) -> Heard:
    """Asks the running agent to write it down. Raises ``NotHeard``."""
    request = {"state": state, "by": by, "reason": reason, "wait": wait}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(wait + _ANSWER_S)
        try:
            asking.connect(str(run_dir / NAME))
            asking.sendall(json.dumps(request).encode() + b"\n")
            said = json.loads(asking.makefile("rb").readline(MAX_LINE))
            if not said["kept"]:
                raise NotHeard(f"the agent could not write it down: {said['because']}")
            return Heard(
                delivered=bool(said.get("delivered")),
                known=bool(said.get("known")),
                pending=int(said.get("pending", 0)),
            )
        except OSError as error:
            raise NotHeard(f"the agent does not answer ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise NotHeard("the agent answered nothing that can be read") from error


def _say_why(run_dir: Path, state_dir: Path, reason: str, wait: int, even_unrecorded: bool) -> bool:
    """Whether it may go on."""
    if not _is_enrolled(state_dir):
        print("This device is not enrolled: there is no school to tell.")
        return True
    try:
        heard = tell(run_dir, state="begun", by="command", reason=reason, wait=wait)
    except NotHeard as error:
        if even_unrecorded:
            print(f"warning: the reason is not recorded: {error}", file=sys.stderr)
            return True
        print(
            f"error: {error}, so the reason cannot be recorded and nothing was removed. Start it with"
            " `systemctl start schoolkeeper-agent`; --even-unrecorded removes it all the same, and the school sees"
            " only that the device falls silent",
            file=sys.stderr,
        )
        return False
    if heard.delivered:
        print("The school has the reason.")
    else:
        print(
            f"The school does NOT have the reason: it waits with {heard.pending} undelivered events in"
            f" {state_dir / 'spool'} and arrives only if the agent is installed here again."
        )
    if heard.delivered and heard.pending:
        print(f"{heard.pending} other events are not delivered and stay in {state_dir / 'spool'}.")
    return True


def _say_failed(run_dir: Path, reason: str) -> None:
    try:
        tell(run_dir, state="failed", by="command", reason=reason)
    except NotHeard as error:
        print(f"warning: the school does not hear that it is still there: {error}", file=sys.stderr)


def _is_enrolled(state_dir: Path) -> bool:
    from schoolkeeper_agent.identity import IdentityError, load_identity

    try:
        return load_identity(state_dir) is not None
    except IdentityError:
        return True


def _cannot_be_removed() -> str:
    """What dpkg says beforehand; empty when it would do it."""
    asked = ("dpkg-query", "--showformat", "${db:Status-Status}", "--show", PACKAGE)
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False, env=_environment())
    except FileNotFoundError:
        return "there is no dpkg here: remove the agent as it was installed"
    if found.returncode != 0 or found.stdout.strip() in ("not-installed", "config-files"):
        return f"no package {PACKAGE} is installed: remove the agent as it was installed"
    tried = subprocess.run(
        ("dpkg", "--simulate", "--remove", PACKAGE),
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    return "" if tried.returncode == 0 else f"dpkg would not remove it: {tried.stderr.strip()[-400:]}"


def _dpkg(*arguments: str) -> int:
    return subprocess.run(("dpkg", *arguments), check=False, env=_environment()).returncode


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _PATH, "DEBIAN_FRONTEND": "noninteractive"}
