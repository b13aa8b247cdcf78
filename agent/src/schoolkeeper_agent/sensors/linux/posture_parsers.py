"""From what a system's tools and files say to pass, fail or unknown: pure; every unknown has its reason (T-43)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.posture import THRESHOLDS, Check

DEFAULT_SIGNATURE_DAYS = THRESHOLDS[Check.ANTIVIRUS].default
DEFAULT_UPDATE_DAYS = THRESHOLDS[Check.UPDATES].default


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``because`` is set if and only if the result is unknown."""

    result: PostureResult
    evidence: str = ""
    because: str = ""


def unknown(because: str) -> Finding:
    return Finding(result=PostureResult.UNKNOWN, because=because)


def disk_encryption(
    places: Mapping[str, str], mapper_uuid_of: Callable[[str], str], below: Callable[[str], tuple[str, ...]]
) -> Finding:
    """Whether everything that ``places`` (name to device as 'major:minor') lie on goes through dm-crypt.

    ``mapper_uuid_of`` gives a device's dm/uuid or '', ``below`` the devices it lies on. A plain disk under any of
    them is a failure, even where another cannot be told.
    """
    plain, untold = [], []
    for name, device in places.items():
        if not device or device.startswith("0:"):
            untold.append(name)
        elif not _is_encrypted(device, mapper_uuid_of, below, depth=8):
            plain.append(name)
    if plain:
        return Finding(result=PostureResult.FAIL, evidence=f"on a plain disk: {', '.join(plain)}")
    if untold:
        return unknown(f"no disk of its own (an overlay, a network or memory): {', '.join(untold)}")
    return Finding(result=PostureResult.PASS, evidence=f"dm-crypt under {', '.join(places)}")


def _is_encrypted(
    device: str, mapper_uuid_of: Callable[[str], str], below: Callable[[str], tuple[str, ...]], *, depth: int
) -> bool:
    if mapper_uuid_of(device).startswith("CRYPT-"):
        return True
    lower = below(device)
    if not lower or depth == 0:
        return False
    return all(_is_encrypted(one, mapper_uuid_of, below, depth=depth - 1) for one in lower)


def signature_time(header: bytes) -> datetime | None:
    """When a ClamAV database was built, from the 512-byte header of a .cvd or .cld file; None when it is none.

    The form: ``ClamAV-VDB:07 Nov 2026 07-56 -0500:27812:...`` (libclamav, cvd.c).
    """
    fields = header[:512].decode("ascii", "replace").split(":")
    if fields[0] != "ClamAV-VDB" or len(fields) < 3:
        return None
    try:
        return datetime.strptime(fields[1].strip(), "%d %b %Y %H-%M %z")
    except (ValueError, OverflowError):
        return None


def antivirus(
    built: datetime | None, *, installed: bool, running: bool, now: datetime, threshold_days: int
) -> Finding:
    """Installed, running, with signatures younger than ``threshold_days`` (0: the default)."""
    if not installed:
        return Finding(
            result=PostureResult.FAIL, evidence="no antivirus that this agent knows (ClamAV) is installed"
        )
    if built is None:
        return unknown("ClamAV is installed; its signatures cannot be read")
    age = (now - built).days
    evidence = f"ClamAV, signatures {age} days old"
    if age < -1:
        return unknown(f"its signatures come from the future ({built:%Y-%m-%d}): is the clock right?")
    if not running:
        return Finding(result=PostureResult.FAIL, evidence=f"{evidence}, not running")
    fresh = age <= (threshold_days or DEFAULT_SIGNATURE_DAYS)
    return Finding(result=PostureResult.PASS if fresh else PostureResult.FAIL, evidence=evidence)


def pending_security_updates(simulation: str) -> int:
    """How many of the lines of ``apt-get -s dist-upgrade`` install something from a security archive."""
    lines = (line for line in simulation.split("\n") if line.startswith("Inst "))
    return sum("security" in line.partition("(")[2].lower() for line in lines)


def updates(
    simulation: str | None, lists_from: datetime | None, *, now: datetime, threshold_days: int
) -> Finding:
    """No security update waits, as far as lists that are young enough can tell."""
    if simulation is None:
        return unknown("the package tool is not one this agent knows (apt), or it did not answer")
    if lists_from is None:
        return unknown("the lists of packages were never fetched: run apt-get update")
    age = (now - lists_from).days
    if now - lists_from > timedelta(days=threshold_days or DEFAULT_UPDATE_DAYS):
        return unknown(f"the lists of packages are {age} days old: run apt-get update")
    waiting = pending_security_updates(simulation)
    result = PostureResult.FAIL if waiting else PostureResult.PASS
    return Finding(result=result, evidence=f"{waiting} security updates wait; lists {age} days old")


def site_lists(version: int, compiled: datetime, *, now: datetime, threshold_days: int) -> Finding:
    """The lists of sites on the device are those of its policy: as old as that is (T-15)."""
    if not version or compiled.year < 2020:
        return unknown("the policy in force does not say when it was compiled")
    age = (now - compiled).days
    if age < -1:
        return unknown(
            f"the policy in force comes from the future ({compiled:%Y-%m-%d}): is the clock right?"
        )
    fresh = age <= (threshold_days or THRESHOLDS[Check.SITE_LISTS].default)
    evidence = f"policy version {version}, compiled {max(age, 0)} days ago"
    return Finding(result=PostureResult.PASS if fresh else PostureResult.FAIL, evidence=evidence)


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
