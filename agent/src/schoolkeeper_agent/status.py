"""How the agent stands, in one report: as JSON for programs and in plain words for a technician."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from schoolkeeper_agent.system import here

T = TypeVar("T")
_IN_PLACE = ("in-place", "on", "not-confirmed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorLine:
    name: str
    running: bool
    problem: str = ""
    restarts: int = 0
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcerLine:
    name: str
    able: bool
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserLine:
    """How one browser is managed. ``rules``: there is something to tell it. ``effective``: whether it heeds them."""

    name: str
    installed: bool
    file: str
    rules: bool
    applied_unix_ms: int
    read_back: bool
    effective: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine:
    """``because`` says why a grant whose time has come is not in force; of an isolation or a lost device, what its
    ``state`` means, as in event.proto: empty until the device did something about it."""

    grant_id: str
    kind: str
    from_unix_ms: int
    until_unix_ms: int
    in_force: bool
    rules: tuple[str, ...] = ()
    because: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLine:
    """Counts are of events unless they say otherwise; times in Unix milliseconds."""

    pending_events: int = 0
    pending_frames: int = 0
    pending_by_lane: dict[str, int] = field(default_factory=dict)
    oldest_unix_ms: int | None = None
    used_bytes: int = 0
    room_bytes: int = 0
    delivered_frames: int = 0
    evicted_events: int = 0
    set_aside_events: int = 0
    lost_events: int = 0
    counts_forgotten: int = 0
    waiting_in_memory: int = 0
    failing_because: str = ""
    epochs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """``source`` says whether the running agent answered or the files on disk were read."""

    at_unix_ms: int
    source: str
    running: bool
    version: str = ""
    mode: str = ""
    enrolled: bool = False
    school_id: str = ""
    device_id: str = ""
    group: str = ""
    certificate_until_unix_ms: int = 0
    connected: bool = False
    last_contact_unix_ms: int = 0
    last_problem: str = ""
    proof_failure: str = ""
    ledger_size: int = 0
    policy_version: int = 0
    policy_hash: str = ""
    policy_stale_since_unix_ms: int | None = None
    policy_problem: str = ""
    sensors: tuple[SensorLine, ...] = ()
    enforcers: tuple[EnforcerLine, ...] = ()
    browsers: tuple[BrowserLine, ...] = ()
    grants: tuple[GrantLine, ...] = ()
    not_said: int = 0
    """Messages for people at the device that nobody could be shown, since the agent started."""
    spool: SpoolLine = field(default_factory=SpoolLine)
    resident_bytes: int = 0
    cpu_milliseconds: int = 0
    problems: tuple[str, ...] = ()


def to_json(report: StatusReport) -> str:
    return json.dumps(asdict(report), indent=1, sort_keys=True)


def from_json(text: str) -> StatusReport:
    """The report another process wrote; raises ``ValueError`` for anything else. Fields unknown here are left out."""
    said = json.loads(text)
    try:
        lines = [line | {"kinds": tuple(line.get("kinds", ()))} for line in said.pop("sensors", [])]
        sensors = tuple(_known(SensorLine, line) for line in lines)
        enforcers = tuple(_known(EnforcerLine, line) for line in said.pop("enforcers", []))
        browsers = tuple(_known(BrowserLine, line) for line in said.pop("browsers", []))
        granted = [line | {"rules": tuple(line.get("rules", ()))} for line in said.pop("grants", [])]
        grants = tuple(_known(GrantLine, line) for line in granted)
        spool = _known(SpoolLine, said.pop("spool", {}))
        problems = tuple(said.pop("problems", ()))
        lists = {"sensors": sensors, "enforcers": enforcers, "grants": grants, "problems": problems}
        return _known(StatusReport, said | lists | {"spool": spool, "browsers": browsers})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a status report: {error}") from error


def _known(cls: type[T], said: dict[str, object]) -> T:
    names = set(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    return cls(**{key: value for key, value in said.items() if key in names})


def render(report: StatusReport) -> str:
    """Plain words. What is unknown is said to be unknown, what is old says how old."""
    lines = [*_head(report), "", *_contact(report), "", *_policy(report), *_grants(report), ""]
    lines += [*_sensors(report), "", *_enforcers(report), *_browsers(report), *_not_said(report)]
    lines += ["", *_spool(report)]
    if report.problems:
        lines += ["", "Problems", *(f"  ! {problem}" for problem in report.problems)]
    return "\n".join(lines) + "\n"


def _not_said(report: StatusReport) -> list[str]:
    if not report.not_said:
        return []
    messages = "1 message" if report.not_said == 1 else f"{report.not_said} messages"
    return [f"  ! {messages} for people here could be shown to nobody since the agent started"]


def _head(report: StatusReport) -> list[str]:
    if not report.running:
        return [
            "The agent is NOT running. Nothing is seen or enforced now.",
            f"  start it: {here.START_COMMAND}   (what follows was read from the files on disk)",
        ]
    memory = f"{report.resident_bytes / (1 << 20):.0f} MiB, {report.cpu_milliseconds / 1000:.1f} s of processor time"
    return [f"The agent {report.version} is running ({report.mode or 'mode unknown'}), {memory}."]


def _contact(report: StatusReport) -> list[str]:
    now = report.at_unix_ms
    if not report.enrolled:
        return ["Not enrolled: run `schoolkeeper-agent enrol HOST:PORT --token ...`."]
    until = report.certificate_until_unix_ms
    certificate = (
        "not read yet: the agent did not run since it was enrolled"
        if not until
        else f"until {day(until)}"
        if until > now
        else f"EXPIRED since {day(until)}; it is renewed on contact"
    )
    contact = "connected" if report.connected else "not connected"
    lines = [
        f"School {report.school_id}, group {report.group}, device {report.device_id}",
        f"  certificate   {certificate}",
        f"  contact       {contact}; last heard {ago(report.last_contact_unix_ms, now)}",
    ]
    if report.last_problem and not report.connected:
        lines.append(f"  because       {report.last_problem}")
    if report.proof_failure:
        lines.append(f"  LEDGER        cannot be verified: {report.proof_failure}")
        lines.append("                events are sent all the same, and nothing is deleted")
    elif report.ledger_size:
        lines.append(f"  ledger        verified up to entry {report.ledger_size}")
    return lines


def _policy(report: StatusReport) -> list[str]:
    if not report.policy_version and not report.policy_hash:
        return ["No policy in force."]
    lines = [f"Policy version {report.policy_version} ({report.policy_hash[:12]}) in force"]
    if report.policy_stale_since_unix_ms is not None:
        lines.append(
            f"  STALE since {day(report.policy_stale_since_unix_ms)}: nothing newer was seen; it stays in force"
        )
    if report.policy_problem:
        lines.append(f"  ! {report.policy_problem}")
    return lines


def _grants(report: StatusReport) -> list[str]:
    """What holds beside the policy, and until when; nothing when there is nothing."""
    lines = []
    for line in report.grants:
        if line.kind in _CONFINED:
            lines += _confined(line)
            continue
        what = ", ".join(line.rules) or "every rule it may touch"
        if line.kind == "emergency-block":
            what = "stricter rules"
        state = f"until {day(line.until_unix_ms)}"
        if line.because:
            state = f"{line.because}; {state}"
        elif not line.in_force:
            state = f"not in force now: from {day(line.from_unix_ms)} {state}"
        lines.append(f"  grant {line.grant_id[:8]}  {line.kind}: {what}; {state}")
    return lines


_CONFINED = {
    "isolate": (
        "OFF THE NETWORK",
        "only the collector is reached: leave it on, plug it in, do not touch anything on it",
    ),
    "lost": ("HELD AS LOST", "screens are locked, nobody but root signs in, the policy is frozen"),
}


def _confined(line: GrantLine) -> list[str]:
    """What officers asked for, and what is really so: never shown as done because it was asked for."""
    words, meaning = _CONFINED[line.kind]
    if not line.in_force:
        return [
            f"  grant {line.grant_id[:8]}  {line.kind}: not in force now; until {day(line.until_unix_ms)}"
        ]
    if line.state in _IN_PLACE:
        head = f"  {words} until {day(line.until_unix_ms)} (grant {line.grant_id[:8]}): {meaning}"
    else:
        head = f"  {line.kind} was asked for (grant {line.grant_id[:8]}) and is NOT in place"
    said = line.because or "not known yet: the agent has not done it, or has not looked"
    return [head, f"    {line.state or 'asked'}: {said}"]


def _sensors(report: StatusReport) -> list[str]:
    if not report.running:
        return ["Seen: nothing (not running)"]
    lines = ["Seen"]
    for line in report.sensors:
        state = "yes" if line.running else "NO"
        restarts = f" (restarted {line.restarts} times)" if line.restarts else ""
        lines.append(f"  {state:4}{line.name:24}{line.problem}{restarts}".rstrip())
    return lines if len(lines) > 1 else ["Seen: nothing but the agent's own health"]


def _enforcers(report: StatusReport) -> list[str]:
    if not report.running:
        return ["Enforced: nothing (not running)"]
    lines = ["Enforced"]
    for line in report.enforcers:
        word = "yes" if line.able else "NO"
        lines.append(f"  {word:4}{line.name:24}{line.because}".rstrip())
    return lines if len(lines) > 1 else ["Enforced: nothing; rules are observed only"]


def _browsers(report: StatusReport) -> list[str]:
    """Browser by browser: written, read back, and whether it is heeded, which nobody can see from outside."""
    if not report.browsers:
        return []
    lines = ["", "Browsers (pages that they refuse are not counted: no browser tells of them)"]
    for line in report.browsers:
        word = "NO" if line.problem or not line.read_back else "yes" if line.rules else "-"
        what = (
            f"written {ago(line.applied_unix_ms, report.at_unix_ms)}, as written now"
            if line.rules
            else "no rules now"
        )
        if word == "NO":
            what = line.problem or "not as it was written"
        there = "" if line.installed else "; not installed"
        effective = f"; {line.effective}" if line.rules and line.installed else ""
        lines.append(f"  {word:4}{line.name:24}{what}{there}{effective}")
    return lines


def _spool(report: StatusReport) -> list[str]:
    spool = report.spool
    if spool.failing_because and not spool.room_bytes:
        return [f"Spool: unknown: {spool.failing_because}"]
    by_lane = ", ".join(f"{lane} {count}" for lane, count in spool.pending_by_lane.items() if count)
    share = 100 * spool.used_bytes / spool.room_bytes if spool.room_bytes else 0
    lines = [
        "Spool",
        f"  waiting       {spool.pending_events} events" + (f" ({by_lane})" if by_lane else ""),
        f"  room          {spool.used_bytes / (1 << 20):.1f} of {spool.room_bytes / (1 << 20):.0f} MiB ({share:.0f} %)",
        f"  evicted       {spool.evicted_events}   set aside {spool.set_aside_events}   lost {spool.lost_events}",
    ]
    if spool.counts_forgotten:
        lines.append(
            "  ! these counts are the least that is sure: damage on the disk took what was counted before"
        )
    if spool.oldest_unix_ms is not None:
        lines.insert(2, f"  oldest        {ago(spool.oldest_unix_ms, report.at_unix_ms)}")
    if spool.failing_because:
        lines.append(f"  ! cannot be written: {spool.failing_because}")
        lines.append(f"    {spool.waiting_in_memory} events wait in memory")
    return lines


def day(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_ms / 1000))


def ago(unix_ms: int, now_ms: int) -> str:
    """ "never", or how long ago."""
    if not unix_ms:
        return "never"
    seconds = max(0, (now_ms - unix_ms) // 1000)
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''} ago"
    return "just now"
