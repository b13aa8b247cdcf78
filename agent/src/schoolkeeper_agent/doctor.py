"""``schoolkeeper-agent doctor``: looks at everything that can keep a device from reporting, and says what to do.

Reads only; asks the collector for the time and hangs up. Each finding names what was looked at, how it is, and, unless
it is well, the remedy.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from schoolkeeper_agent import identity as identities
from schoolkeeper_agent.addresses import Addresses, known_addresses
from schoolkeeper_agent.config import CONFIG_PATH
from schoolkeeper_agent.enrol_unattended import PRESEED, PreseedError, read_preseed
from schoolkeeper_agent.net import AddressError, Proxy, open_channel, parse_proxy
from schoolkeeper_agent.probe import Unreachable, probe
from schoolkeeper_agent.renew import RenewError, school_time
from schoolkeeper_agent.system import here
from schoolkeeper_agent.trust import FOLDER as TRUST_FOLDER
from schoolkeeper_agent.trust import Trust, TrustDamaged, load_trust
from schoolkeeper_proto import enrolment_token
from schoolkeeper_proto.statements import StatementError

_DAY_MS = 86_400_000
_LEAST_FREE_BYTES = 64 << 20
_CLOCK_WARN_MS = 5 * 60_000


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``remedy`` is empty when nothing has to be done."""

    check: str
    level: Level
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    state_dir: Path
    config_path: Path = CONFIG_PATH
    preseed: Path = PRESEED
    proxy: str = ""
    extra_uplink: tuple[str, ...] = ()
    extra_enrolment: tuple[str, ...] = ()


async def diagnose(options: DoctorOptions, *, now_ms: int) -> list[Finding]:
    """All findings, in the order a technician would look."""
    found = [_config(options.config_path), *_folders(options.state_dir)]
    proxy, proxy_finding = _proxy(options.proxy)
    found += proxy_finding
    identity, finding = _identity(options.state_dir)
    found.append(finding)
    if identity is None:
        return [*found, _preseed(options.preseed)]
    found.append(_certificate(identity, now_ms))
    trust, finding = _policy(options.state_dir, now_ms)
    found.append(finding)
    addresses = known_addresses(
        options.state_dir,
        identity,
        trust,
        extra_uplink=options.extra_uplink,
        extra_enrolment=options.extra_enrolment,
    )
    reached, findings = await _addresses(identity, addresses, proxy)
    found += findings
    found.append(await _uplink(identity, reached.uplink, proxy))
    found.append(await _clock(identity, trust, reached.enrolment, proxy, now_ms))
    return found


def doctor_main(args: argparse.Namespace) -> int:
    """Prints the findings; 0 when there is no fault. Wants ``state_dir`` and, if there, ``config`` and ``proxy``."""
    options = DoctorOptions(
        state_dir=Path(args.state_dir),
        config_path=Path(getattr(args, "config", None) or CONFIG_PATH),
        proxy=getattr(args, "proxy", "") or "",
    )
    findings = asyncio.run(diagnose(options, now_ms=time.time_ns() // 1_000_000))
    for finding in findings:
        print(f"{finding.level.value:8} {finding.check:12} {finding.message}")
        if finding.remedy:
            print(f"{'':21} -> {finding.remedy}")
    faults = sum(finding.level is Level.FAULT for finding in findings)
    print(f"\n{faults} fault{'s' if faults != 1 else ''}", file=sys.stderr)
    return 1 if faults else 0


def _config(path: Path) -> Finding:
    try:
        tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Finding(check="config", level=Level.OK, message=f"{path} is not there; built-in settings hold")
    except PermissionError:
        return Finding(
            check="config",
            level=Level.UNKNOWN,
            message=f"{path} may not be read",
            remedy="Run `doctor` as root",
        )
    except (OSError, ValueError) as error:
        return Finding(
            check="config",
            level=Level.FAULT,
            message=f"{path}: {error}",
            remedy="Correct the file; it is TOML",
        )
    return Finding(check="config", level=Level.OK, message=f"{path} can be read")


def _folders(state_dir: Path) -> list[Finding]:
    found = []
    for check, folder in (("state", state_dir), ("spool", state_dir / "spool")):
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not os.access(existing, os.W_OK | os.X_OK):
            who = here.ADMINISTRATOR if here.is_administrator() else "this account"
            found.append(
                Finding(
                    check=check,
                    level=Level.FAULT,
                    message=f"{folder} cannot be written by {who}",
                    remedy="Run `doctor` as root; if you do, check that the file system is not mounted read-only",
                )
            )
            continue
        free = shutil.disk_usage(existing).free
        if free < _LEAST_FREE_BYTES:
            found.append(
                Finding(
                    check=check,
                    level=Level.FAULT,
                    message=f"{folder} has {free >> 20} MiB left",
                    remedy=f"Make room: the agent wants {_LEAST_FREE_BYTES >> 20} MiB or more free",
                )
            )
        else:
            found.append(
                Finding(check=check, level=Level.OK, message=f"{folder}: writable, {free >> 20} MiB free")
            )
    return found


def _proxy(text: str) -> tuple[Proxy | None, list[Finding]]:
    try:
        proxy = parse_proxy(text)
    except AddressError as error:
        finding = Finding(
            check="proxy", level=Level.FAULT, message=str(error), remedy="Correct the setting `proxy`"
        )
        return None, [finding]
    if proxy is None:
        return None, []
    return proxy, [Finding(check="proxy", level=Level.OK, message=f"goes through {proxy.host}:{proxy.port}")]


def _identity(state_dir: Path) -> tuple[identities.Identity | None, Finding]:
    try:
        found = identities.load_identity(state_dir)
    except identities.IdentityError as error:
        message, _, remedy = str(error).rpartition(": ")
        return None, Finding(check="identity", level=Level.FAULT, message=message, remedy=remedy)
    if found is None:
        return None, Finding(
            check="identity",
            level=Level.FAULT,
            message=f"this device is not enrolled (nothing in {state_dir / identities.FOLDER})",
            remedy="Run `schoolkeeper-agent enrol HOST:7443 --token ...` with a token of the technician",
        )
    if (exposed := identities.exposed_key(state_dir)) is not None:
        return found, Finding(
            check="identity",
            level=Level.FAULT,
            message=f"{exposed} can be read by other accounts of this device",
            remedy=f"Run `chmod 600 {exposed}`; the service does it when it starts, and reports it",
        )
    message = f"{found.device_id.hex()} of {found.school_id}, enrolled into {found.group}"
    return found, Finding(check="identity", level=Level.OK, message=message)


def _preseed(path: Path) -> Finding:
    try:
        found = read_preseed(path)
        if found is None:
            return Finding(check="token", level=Level.NOTE, message=f"no {path} for unattended enrolment")
        enrolment_token.parse(found.token)
    except (PreseedError, enrolment_token.TokenTextError) as error:
        return Finding(
            check="token",
            level=Level.FAULT,
            message=f"{path}: {error}",
            remedy="Paste the token again, whole",
        )
    except PermissionError:
        return Finding(
            check="token",
            level=Level.UNKNOWN,
            message=f"{path} may not be read",
            remedy="Run `doctor` as root",
        )
    return Finding(
        check="token",
        level=Level.OK,
        message=f"{path} holds a well-formed token; whether it is spent or expired only the collector knows",
    )


def _certificate(identity: identities.Identity, now_ms: int) -> Finding:
    until = _date(identity.not_after_ms)
    if now_ms > identity.not_after_ms + 400 * _DAY_MS:
        return Finding(
            check="certificate",
            level=Level.FAULT,
            message=f"ended on {until}, more than 400 days ago by this machine's clock",
            remedy="If the clock is right, enrol again with a new token; if not, set it",
        )
    if now_ms > identity.not_after_ms:
        return Finding(
            check="certificate",
            level=Level.NOTE,
            message=f"ended on {until}; the agent renews it when it next reaches the enrolment port",
            remedy="Look at the finding about addresses",
        )
    if identities.is_due(identity, now_ms):
        return Finding(
            check="certificate",
            level=Level.NOTE,
            message=f"holds until {until}; renewal is due and tried by itself",
        )
    return Finding(check="certificate", level=Level.OK, message=f"holds until {until}")


def _policy(state_dir: Path, now_ms: int) -> tuple[Trust | None, Finding]:
    try:
        trust = load_trust(state_dir)
    except TrustDamaged as error:
        return None, Finding(
            check="policy",
            level=Level.FAULT,
            message=str(error),
            remedy=f"Remove {state_dir / TRUST_FOLDER / 'current'} and restart the agent: it fetches a fresh set",
        )
    if trust is None:
        return None, Finding(
            check="policy",
            level=Level.FAULT,
            message="no signed policy is here",
            remedy="Look at the addresses below: the agent fetches it when it reaches the collector",
        )
    told = f"bundle {trust.bundle_version} of {trust.group}, root {trust.root_version}"
    since = trust.stale_since(now_ms)
    if since is not None:
        return trust, Finding(
            check="policy",
            level=Level.NOTE,
            message=f"{told}: in force, but stale since {_date(since)}",
            remedy="It stays in force. Connect to the collector; if it is connected, tell the technician",
        )
    return trust, Finding(
        check="policy", level=Level.OK, message=f"{told}, fresh until {_date(trust.expires_unix_ms)}"
    )


async def _addresses(
    identity: identities.Identity, addresses: Addresses, proxy: Proxy | None
) -> tuple[Addresses, list[Finding]]:
    """A finding per address, and those that this school's collector answers at."""
    pin = hashlib.sha256(identities.split_chain(identity.chain_pem)[1]).digest()
    asked = [("uplink", a) for a in addresses.uplink] + [("enrolment", a) for a in addresses.enrolment]
    if not asked:
        return addresses, [
            Finding(
                check="address",
                level=Level.FAULT,
                message="no address of a collector is known",
                remedy="Enrol again, or name one in the configuration",
            )
        ]
    found = await asyncio.gather(*(asyncio.to_thread(_address, what, a, pin, proxy) for what, a in asked))
    good = [pair for pair, finding in zip(asked, found, strict=True) if finding.level is Level.OK]
    reached = Addresses(
        uplink=tuple(a for what, a in good if what == "uplink"),
        enrolment=tuple(a for what, a in good if what == "enrolment"),
    )
    return reached, list(found)


def _address(what: str, address: str, pin: bytes, proxy: Proxy | None) -> Finding:
    try:
        probe(address, pin, proxy)
    except Unreachable as error:
        return Finding(
            check="address", level=Level.FAULT, message=f"{what}: {error.message}", remedy=error.remedy
        )
    except AddressError as error:
        return Finding(check="address", level=Level.FAULT, message=f"{what}: {error}", remedy="Correct it")
    return Finding(check="address", level=Level.OK, message=f"{what}: {address} is this school's collector")


async def _uplink(identity: identities.Identity, addresses: Sequence[str], proxy: Proxy | None) -> Finding:
    """A whole mutual handshake: the collector takes this certificate, or not."""
    for address in addresses:
        try:
            async with (
                open_channel(address, identity.ca_pem, identity, proxy) as channel,
                asyncio.timeout(10),
            ):
                await channel.channel_ready()
        except (TimeoutError, AddressError):
            continue
        return Finding(check="uplink", level=Level.OK, message=f"{address} takes this device's certificate")
    return Finding(
        check="uplink",
        level=Level.FAULT,
        message="no uplink address completes a connection with this device's certificate",
        remedy="See certificate and address above; an expired certificate is renewed at the enrolment address first",
    )


async def _clock(
    identity: identities.Identity,
    trust: Trust | None,
    addresses: Sequence[str],
    proxy: Proxy | None,
    now_ms: int,
) -> Finding:
    if trust is None:
        return Finding(
            check="clock", level=Level.UNKNOWN, message="without signed keys the time cannot be compared"
        )
    try:
        school = await school_time(identity, trust, addresses, proxy=proxy)
    except (RenewError, StatementError) as error:
        return Finding(
            check="clock", level=Level.UNKNOWN, message=f"the school's time is not to be had: {error}"
        )
    off = now_ms - school
    if abs(off) < _CLOCK_WARN_MS:
        return Finding(
            check="clock", level=Level.OK, message=f"within {abs(off) / 1000:.0f} s of the school's time"
        )
    return Finding(
        check="clock",
        level=Level.FAULT if abs(off) > _DAY_MS else Level.NOTE,
        message=f"{abs(off) / _DAY_MS:.1f} days {'ahead of' if off > 0 else 'behind'} the school's signed time",
        remedy="Run `timedatectl set-ntp true`, or `date -s`; a clock that falls back at every start needs a battery",
    )


def _date(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_ms // 1000))
