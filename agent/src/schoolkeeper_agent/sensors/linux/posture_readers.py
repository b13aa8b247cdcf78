"""How each posture check is read: a thin reader a check, from files and from programs that end by themselves (T-43).

What the answers mean is said, without reading anything, in ``posture_parsers.py``, ``posture_accounts.py`` and
``posture_machine.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.sensors.linux import posture_accounts, posture_machine
from schoolkeeper_agent.sensors.linux import posture_parsers as parsers
from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import FilterTest, PostureCheck
from schoolkeeper_proto.posture import Check

_APT = ("apt-get", "-s", "-q", "-o", "Debug::NoLocking=1", "dist-upgrade")
_NFT = ("nft", "-j", "list", "ruleset")
_FILTER_TEST = (sys.executable, "-I", "-m", "schoolkeeper_agent.sensors.linux.filter_test")
_INTEGRITY = (sys.executable, "-I", "-m", "schoolkeeper_agent.updating.signed_files")
_CHILD_TIMEOUT_S = 120
# At the lowest priority, and gone with the agent: one that outlived a killed agent would only cost a pupil's battery.
_GENTLY = ("setpriv", "--pdeathsig", "KILL", "nice", "-n", "19")
_SECURE_BOOT = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_PASSWORD_STACKS = ("etc/pam.d/common-password", "etc/pam.d/system-auth")
_APT_FILES = (
    "var/lib/dpkg/status",
    "var/lib/apt/extended_states",
    "var/lib/apt/lists",
    "etc/apt",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/preferences",
    "etc/apt/preferences.d",
    "etc/apt/apt.conf",
    "etc/apt/apt.conf.d",
)
"""What the answer of apt depends on. Files in the folders are replaced and not written to, which changes the folder."""
_ASK_AGAIN_S = 86_400.0
"""Even when none of them changed: who gets a phased update first depends on the day."""
_SIGNATURES = ("var/lib/clamav/daily.cld", "var/lib/clamav/daily.cvd", "var/lib/clamav/main.cvd")

Reader = Callable[[PostureCheck], Awaitable[Finding]]


class Readers:
    """``by_name`` has a reader for every check that this agent knows; ``root`` is where the system's files lie."""

    def __init__(self, context: Context, root: Path) -> None:
        self._context = context
        self._root = root
        self._simulated: tuple[object, float, str] = (None, 0.0, "")
        """What it was asked of, when (monotonic seconds), what apt said."""
        self.by_name: Mapping[str, Reader] = {
            Check.DISK_ENCRYPTION: self._disk_encryption,
            Check.ANTIVIRUS: self._antivirus,
            Check.UPDATES: self._updates,
            Check.LOCK: self._lock,
            Check.FIREWALL: self._firewall,
            Check.SECURE_BOOT: self._secure_boot,
            Check.PASSWORD_LENGTH: self._password_length,
            Check.PASSWORD_AGE: self._password_age,
            Check.ADMINISTRATORS: self._administrators,
            Check.GUEST_ACCOUNTS: self._guest_accounts,
            Check.AUTO_LOGIN: self._auto_login,
            Check.AGENT_INTEGRITY: self._agent_integrity,
            Check.SITE_LISTS: self._site_lists,
            Check.CONTENT_FILTER: self._content_filter,
            Check.CEOP_SHORTCUT: self._ceop_shortcut,
        }

    def _text(self, name: str) -> str:
        return (self._root / name).read_text(errors="replace")

    def _texts(self, *patterns: str) -> Iterator[str]:
        """The files that there are, in the order of their names; one that may not be read raises ``OSError``."""
        for pattern in patterns:
            for path in sorted(self._root.glob(pattern)):
                if path.is_file():
                    yield path.read_text(errors="replace")

    async def _disk_encryption(self, _check: PostureCheck) -> Finding:
        mounts = parse_mounts((self._context.proc_root / "self" / "mountinfo").read_text(errors="replace"))
        devices = {point: device for device, point, _ in mounts if point in ("/", "/home")}
        return parsers.disk_encryption(
            {"/": "", **devices, **dict(self._swaps())}, self._mapper_uuid, self._below
        )

    def _swaps(self) -> Iterator[tuple[str, str]]:
        """Disks that memory is written to; a file lies on a file system, and zram is memory itself."""
        try:
            lines = (self._context.proc_root / "swaps").read_text().splitlines()[1:]
        except OSError:
            return
        for line in lines:
            name, _, rest = line.partition(" ")
            if rest.split()[:1] == ["partition"] and not name.startswith("/dev/zram"):
                number = Path(name).stat().st_rdev
                yield f"swap on {name}", f"{os.major(number)}:{os.minor(number)}"

    def _mapper_uuid(self, device: str) -> str:
        try:
            return (self._context.sys_root / "dev/block" / device / "dm/uuid").read_text().strip()
        except OSError:
            return ""

    def _below(self, device: str) -> tuple[str, ...]:
        slaves = self._context.sys_root / "dev/block" / device / "slaves"
        if not slaves.is_dir():
            return ()
        return tuple((one / "dev").read_text().strip() for one in sorted(slaves.iterdir()))

    async def _antivirus(self, check: PostureCheck) -> Finding:
        files = [self._root / name for name in _SIGNATURES]
        newest = max(
            (path for path in files if path.exists()), key=lambda path: path.stat().st_mtime, default=None
        )
        installed = newest is not None or (self._root / "usr/bin/clamscan").exists()
        built = None
        if newest is not None:
            with newest.open("rb") as file:
                built = parsers.signature_time(file.read(512))
        return parsers.antivirus(
            built,
            installed=installed,
            running=self._runs("clamd") or self._runs("freshclam"),
            now=parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )

    def _runs(self, name: str) -> bool:
        for folder in self._context.proc_root.iterdir():
            if folder.name.isdigit():
                try:
                    if (folder / "comm").read_text().strip() == name:
                        return True
                except OSError:
                    continue
        return False

    async def _updates(self, check: PostureCheck) -> Finding:
        lists = self._root / "var/lib/apt/lists"
        fetched = [path.stat().st_mtime for path in lists.glob("*Release")] if lists.is_dir() else []
        simulation = await self._simulation() if fetched else None
        if not fetched and (self._root / "usr/bin/apt-get").exists():
            simulation = ""
        return parsers.updates(
            simulation,
            parsers.time_of(max(fetched)) if fetched else None,
            now=parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )

    async def _simulation(self) -> str | None:
        """What apt says; it takes seconds of the processor, so that it is asked again only when something changed."""
        basis = [_state(self._root / name) for name in _APT_FILES]
        known, asked_at, said = self._simulated
        if basis == known and time.monotonic() - asked_at < _ASK_AGAIN_S:
            return said
        simulation = await _said(*_APT)
        if simulation is not None:
            kept = "\n".join(line for line in simulation.split("\n") if line.startswith("Inst "))
            self._simulated = basis, time.monotonic(), kept
        return simulation

    async def _lock(self, _check: PostureCheck) -> Finding:
        return unknown("no screen was locked since the agent started: told at the next idle time")

    async def _firewall(self, _check: PostureCheck) -> Finding:
        try:
            legacy = (self._context.proc_root / "net/ip_tables_names").read_text().split()
        except OSError:
            legacy = []
        if legacy:
            return unknown(
                "rules of the old packet filter (iptables-legacy) are loaded: this agent reads nftables"
            )
        return posture_machine.firewall(await _said(*_NFT))

    async def _secure_boot(self, _check: PostureCheck) -> Finding:
        variable = self._context.sys_root / _SECURE_BOOT
        efi = (self._context.sys_root / "firmware/efi").is_dir()
        return posture_machine.secure_boot(variable.read_bytes() if variable.exists() else None, efi=efi)

    async def _password_length(self, check: PostureCheck) -> Finding:
        stack = next(iter(self._texts(*_PASSWORD_STACKS)), None)
        quality = "\n".join(
            self._texts("etc/security/pwquality.conf", "etc/security/pwquality.conf.d/*.conf")
        )
        return posture_accounts.password_length(stack, quality, least=check.threshold)

    async def _password_age(self, check: PostureCheck) -> Finding:
        return posture_accounts.password_age(
            self._text("etc/passwd"), self._text("etc/shadow"), most_days=check.threshold
        )

    async def _administrators(self, check: PostureCheck) -> Finding:
        sudo = self._texts("etc/sudoers", "etc/sudoers.d/*")
        return posture_accounts.administrators(
            self._text("etc/passwd"), self._text("etc/group"), sudo, allowed=check.threshold
        )

    async def _guest_accounts(self, _check: PostureCheck) -> Finding:
        return posture_accounts.guest_accounts(
            self._text("etc/passwd"),
            self._text("etc/shadow"),
            self._lightdm(),
            guest_sessions=(self._root / "usr/sbin/guest-account").exists(),
        )

    async def _ceop_shortcut(self, _check: PostureCheck) -> Finding:
        from schoolkeeper_agent.sensors.linux.posture_shortcut import ceop_shortcut

        return ceop_shortcut(
            self._texts("usr/share/applications/*.desktop", "usr/local/share/applications/*.desktop")
        )

    async def _auto_login(self, _check: PostureCheck) -> Finding:
        return posture_accounts.auto_login(
            gdm=self._texts("etc/gdm*/daemon.conf", "etc/gdm*/custom.conf"),
            lightdm=self._lightdm(),
            sddm=self._texts("etc/sddm.conf", "usr/lib/sddm/sddm.conf.d/*.conf", "etc/sddm.conf.d/*.conf"),
            getty=self._texts(
                "etc/systemd/system/*getty@*.service*/*.conf", "etc/systemd/system/*getty@*.service"
            ),
        )

    def _lightdm(self) -> Iterator[str]:
        return self._texts(
            "usr/share/lightdm/lightdm.conf.d/*.conf",
            "etc/lightdm/lightdm.conf.d/*.conf",
            "etc/lightdm/lightdm.conf",
        )

    async def _agent_integrity(self, _check: PostureCheck) -> Finding:
        """In a child: tens of megabytes are read, and none of it is to stay in the service."""
        return _finding(await _said(*_INTEGRITY, str(self._root), str(self._context.state_dir)))

    async def _site_lists(self, check: PostureCheck) -> Finding:
        manifest = self._context.bundle.manifest
        return parsers.site_lists(
            manifest.version,
            parsers.time_of(manifest.compiled_at_unix_ms / 1000),
            now=parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )

    async def _content_filter(self, check: PostureCheck) -> Finding:
        """Never fine by assumption: a setting and a declaration prove nothing, a refused test page does."""
        test = check.filter_test
        if test is None:
            return unknown(
                "no filter test is set up: write filter_test under the check content-filter in the school's policy"
            )
        found = _finding(
            await _said(*_FILTER_TEST, test.blocked_url, test.control_url, test.refusal_says, proxied=True)
        )
        return Finding(
            result=found.result,
            evidence="; ".join(filter(None, (found.evidence, _declared(test)))),
            because=found.because,
        )


def _declared(test: FilterTest) -> str:
    """The provider's words as what they are."""
    if not test.declares:
        return ""
    on = f" on {test.declared_on}" if test.declared_on else ""
    return f"declared by {test.provider}{on}, not verified: {test.declares}"


def _finding(said: str | None) -> Finding:
    """What a child of ours printed."""
    try:
        told = json.loads(said or "")
        return Finding(
            result=PostureResult(told["result"]), evidence=told["evidence"], because=told["because"]
        )
    except (ValueError, KeyError, TypeError):
        return unknown("the program that looks ended without an answer")


def _state(path: Path) -> tuple[int, int, int]:
    """Changes whenever the file or folder does; zeros when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


async def _said(*command: str, proxied: bool = False) -> str | None:
    """What a program prints, at the lowest priority; None when it is not there, fails, or takes over two minutes.

    ``proxied``: with the proxy that the service itself was told of.
    """
    environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
    if proxied:
        environment |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    try:
        child = await asyncio.create_subprocess_exec(
            *_GENTLY, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_CHILD_TIMEOUT_S):  # wait_for can swallow a cancellation
            said, _ = await child.communicate()
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return said.decode(errors="replace") if child.returncode == 0 else None
