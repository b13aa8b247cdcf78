"""Gathers a status report: from the parts that run, or from the files when nothing runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from schoolkeeper_agent.budget import cpu_milliseconds, resident_bytes
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.seams import Ability, Sensor
from schoolkeeper_agent.status import (
    BrowserLine,
    EnforcerLine,
    GrantLine,
    SensorLine,
    SpoolLine,
    StatusReport,
    from_json,
    to_json,
)
from schoolkeeper_agent.system import here
from schoolkeeper_proto import moves

if TYPE_CHECKING:
    from schoolkeeper_agent.identity import Identity
    from schoolkeeper_agent.policy_file import PolicyInForce
    from schoolkeeper_agent.spool.contract import Usage
    from schoolkeeper_agent.spool.writer import WriterState
    from schoolkeeper_agent.supervise import SensorState
    from schoolkeeper_agent.trust import Trust
    from schoolkeeper_agent.uplink.machine import Uplink

SAVED = "status.json"


@runtime_checkable
class TellsBrowsers(Protocol):
    """An enforcer that says how each browser is managed now."""

    def lines(self) -> tuple[BrowserLine, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The parts a report is made of."""

    now: Moment
    identity: Identity
    trust: Trust
    policy: PolicyInForce
    policy_problem: str
    uplink: Uplink
    writer: WriterState
    usage: Usage | None
    sensors: tuple[tuple[Sensor, SensorState], ...]
    abilities: Mapping[str, Ability]
    grants: tuple[GrantLine, ...] = ()
    not_said: int = 0
    browsers: tuple[BrowserLine, ...] = ()


def report_of(run: Running) -> StatusReport:
    from schoolkeeper_agent.describe import agent_version

    last = run.uplink.memory.witness.last
    able = any(ability.able for ability in run.abilities.values())
    return StatusReport(
        at_unix_ms=run.now.wall_ms,
        source="agent",
        running=True,
        version=agent_version(),
        mode=here.EDITION or ("enforcing" if able else "audit: observed, not enforced"),
        enrolled=True,
        school_id=run.identity.school_id,
        device_id=run.identity.device_id.hex(),
        group=run.trust.group,
        certificate_until_unix_ms=run.identity.not_after_ms,
        connected=run.uplink.connected,
        last_contact_unix_ms=run.uplink.last_contact_ms,
        last_problem=run.uplink.last_problem,
        proof_failure=run.uplink.proof_failure,
        ledger_size=last.size if last else 0,
        policy_version=run.policy.bundle.manifest.version,
        policy_hash=run.policy.bundle.hash.hex(),
        policy_stale_since_unix_ms=run.trust.stale_since(run.uplink.believed_ms(run.now)),
        policy_problem=run.policy_problem or run.policy.problem or _move_refused(run.trust),
        sensors=tuple(
            SensorLine(
                name=sensor.name,
                running=state.running,
                problem=state.problem,
                restarts=state.restarts,
                kinds=sensor.kinds,
            )
            for sensor, state in run.sensors
        ),
        enforcers=tuple(
            EnforcerLine(name=name, able=ability.able, because=ability.because)
            for name, ability in run.abilities.items()
        ),
        grants=run.grants,
        not_said=run.not_said,
        browsers=run.browsers,
        spool=_spool_line(run.usage, run.writer),
        resident_bytes=resident_bytes(),
        cpu_milliseconds=cpu_milliseconds(),
    )


def _move_refused(trust: Trust) -> str:
    """Known from the set in force, also before the next answer of the collector."""
    if not trust.move_refused:
        return ""
    return f"{moves.REFUSED}: {moves.refusal(trust.group, trust.move_refused)}"


def _spool_line(usage: Usage | None, writer: WriterState) -> SpoolLine:
    if usage is None:
        return SpoolLine(
            waiting_in_memory=writer.buffered_events,
            failing_because=writer.failing_because or "not open yet",
        )
    return SpoolLine(
        pending_events=usage.pending_events,
        pending_frames=usage.pending_frames,
        pending_by_lane={lane.lane.value: lane.pending_events for lane in usage.lanes},
        oldest_unix_ms=usage.oldest_unix_ms,
        used_bytes=usage.used_bytes,
        room_bytes=usage.room_bytes,
        delivered_frames=usage.delivered_frames,
        evicted_events=usage.evicted_events,
        set_aside_events=usage.set_aside_events,
        lost_events=usage.lost_events + writer.dropped_events,
        counts_forgotten=usage.counts_forgotten,
        waiting_in_memory=writer.buffered_events,
        failing_because=writer.failing_because,
        epochs=usage.epochs,
    )


def save_report(state_dir: Path, report: StatusReport) -> None:
    """For ``status`` while the agent is down. Not synced: it is a convenience. Raises ``OSError``."""
    path = state_dir / SAVED
    temporary = path.with_name(f".{SAVED}.new")
    temporary.write_text(to_json(report))
    temporary.chmod(0o600)
    temporary.replace(path)


def report_from_files(state_dir: Path, room_bytes: int, now_ms: int) -> StatusReport:
    """What the disk says while nothing runs. What cannot be read is named under ``problems``."""
    problems: list[str] = []
    try:
        saved = from_json((state_dir / SAVED).read_text())
    except FileNotFoundError:
        saved = StatusReport(at_unix_ms=now_ms, source="files", running=False)
    except (OSError, ValueError) as error:
        saved = StatusReport(at_unix_ms=now_ms, source="files", running=False)
        problems.append(f"{state_dir / SAVED}: {error}")
    said = _identity_file(state_dir, problems)
    return replace(
        saved,
        at_unix_ms=now_ms,
        source="files",
        running=False,
        connected=False,
        sensors=(),
        enforcers=(),
        browsers=(),
        grants=tuple(replace(line, in_force=False) for line in saved.grants),
        enrolled=said is not None,
        school_id=said.get("school_id", "") if said else "",
        device_id=said.get("device_id", "") if said else "",
        group=said.get("group", saved.group) if said else "",
        spool=_spool_file(state_dir / "spool" / "spool.db", room_bytes, problems),
        problems=tuple(problems),
    )


def _identity_file(state_dir: Path, problems: list[str]) -> dict[str, str] | None:
    path = state_dir / "identity" / "identity.json"
    try:
        said = json.loads(path.read_text())
        return {key: str(value) for key, value in said.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return None


def _spool_file(path: Path, room_bytes: int, problems: list[str]) -> SpoolLine:
    from schoolkeeper_agent.spool.reading import usage

    if not path.exists():
        return SpoolLine(room_bytes=room_bytes)
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        problems.append(f"{path}: the agent did not end in order; what it wrote last is not counted here")
    try:
        # Immutable: no lock is taken, so that looking can never keep a starting agent from its spool.
        database = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
        try:
            (used,) = database.execute("SELECT coalesce(sum(cost), 0) FROM frames").fetchone()
            found = usage(database, room_bytes, used)
        finally:
            database.close()
    except sqlite3.Error as error:
        problems.append(f"{path}: {error}")
        return SpoolLine(failing_because=str(error))
    from schoolkeeper_agent.spool.writer import WriterState

    quiet = WriterState(buffered_events=0, buffered_bytes=0, dropped_events=0, failing_because="")
    return _spool_line(found, quiet)
