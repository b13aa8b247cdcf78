"""The fleet against the asset register: what each device needs, and from how many an alert would have come today.

The register is the denominator (T-18, W-06): a laptop that never enrolled counts, and counts as not reached. Nothing
here is fine by default: what is unknown or old is said to be so. Times are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, select

from schoolkeeper_collector.devices.inventory import (
    STALE_DAYS,
    Tale,
    Told,
    load_inventory,
    same_serial,
    told_serials,
)
from schoolkeeper_collector.store.tables import assets, devices, posture, rollouts
from schoolkeeper_proto.model import PostureResult

ONLINE_MS = 3 * 60_000
"""A device says something every minute; three missed are silence."""
TODAY_MS = 24 * 3_600_000
SILENT_MS = 7 * TODAY_MS
STALE_POSTURE_MS = TODAY_MS
"""A check that has not run for a day says nothing about today."""
OLD_SPOOL_SECONDS = 3_600
SKEW_MS = 5 * 60_000


class Contact(StrEnum):
    """When the collector last heard of a device."""

    ONLINE = "online"
    TODAY = "today"
    OFFLINE = "offline"
    SILENT = "silent"
    NEVER = "never"
    NO_AGENT = "no-agent"
    TOLD = "told"
    """Without our agent; another system tells of it. Nothing of that is known to us."""
    REVOKED = "revoked"


class Remedy(StrEnum):
    """What somebody has to do, the most pressing first; the front page groups devices by it."""

    DECIDE_TWIN = "decide-twin"
    REPAIR_PROOF = "repair-proof"
    INSTALL = "install"
    FIND = "find"
    REGISTER = "register"
    FIX_POSTURE = "fix-posture"
    TOLD_OPEN = "told-open"
    GIVE_POLICY = "give-policy"
    EMPTY_SPOOL = "empty-spool"
    LOST_EVENTS = "lost-events"
    SET_CLOCK = "set-clock"
    LEARN_POSTURE = "learn-posture"
    TOLD_OLD = "told-old"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One posture check as last reported. ``stale``: too old to say anything about today."""

    name: str
    result: PostureResult
    since_ms: int
    evaluated_ms: int
    stale: bool
    evidence: str
    unknown_because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One row of the register."""

    tag: str
    serial: str
    description: str
    platform: str
    assigned_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One line of the fleet: an enrolled device, an asset, what other systems tell, joined by the serial number."""

    device_id: bytes | None
    device_no: int | None
    hostname: str
    group: str
    serial: str
    operating_system: str
    agent_version: str
    simulated: bool
    asset: Asset | None
    contact: Contact
    last_contact_ms: int | None
    bundle_version: int
    bundle_since_ms: int | None
    behind: bool
    """Another device of its group has a newer policy."""
    rolling: bool
    """Its group is in a rollout: an older policy is what it should have until its ring opens."""
    spool_events: int | None
    spool_seconds: int | None
    evicted_events: int
    set_aside_events: int
    skew_ms: int | None
    proof_failure: str
    twin: bool
    """Another device of the same serial number is enrolled."""
    checks: tuple[Check, ...]
    remedies: tuple[Remedy, ...]
    told: tuple[Tale, ...] = ()
    """What other systems say of it. Shown with its source and age, and counted for nothing."""

    @property
    def name(self) -> str:
        """What to call it: host name, else the name that another system tells, else asset tag, else serial number."""
        told = self.told[0].device.name if self.told else ""
        return self.hostname or told or (self.asset.tag if self.asset else "") or self.serial

    @property
    def posture(self) -> PostureResult:
        """The worst of its checks; unknown when one is unknown or stale, or there is none."""
        results = {PostureResult.UNKNOWN if check.stale else check.result for check in self.checks}
        if PostureResult.FAIL in results:
            return PostureResult.FAIL
        return PostureResult.PASS if results == {PostureResult.PASS} else PostureResult.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Every device and asset. ``registered`` is false while no register was imported."""

    devices: tuple[Device, ...]
    registered: bool

    def by_remedy(self) -> list[tuple[Remedy, tuple[Device, ...]]]:
        """Group what needs something, the most pressing remedy first."""
        groups = ((remedy, tuple(d for d in self.devices if remedy in d.remedies)) for remedy in Remedy)
        return [(remedy, found) for remedy, found in groups if found]

    def count(self, *contacts: Contact) -> int:
        """Count the devices in any of these states of contact."""
        return sum(device.contact in contacts for device in self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """From how many of the school's devices an alert would have reached a person today."""

    reached: int
    all: int
    no_agent: int
    silent: int
    unproved: int
    registered: bool


def load_fleet(connection: Connection, school_id: str, now_ms: int, stale_days: int = STALE_DAYS) -> Fleet:
    """Read the whole fleet: six queries, whatever its size. ``stale_days``: after how many days a tale is old."""
    rows = connection.execute(
        select(devices).where(devices.c.school_id == school_id, devices.c.status.in_(("active", "revoked")))
    ).mappings()
    found = list(rows)
    checks: dict[int, list[Check]] = {}
    for row in connection.execute(select(posture).where(posture.c.school_id == school_id)).mappings():
        checks.setdefault(row["device_no"], []).append(_check(row, now_ms))
    register = {
        same_serial(row["serial"]): _asset(row)
        for row in connection.execute(select(assets).where(assets.c.school_id == school_id)).mappings()
    }
    going = select(rollouts.c.device_group).where(
        rollouts.c.school_id == school_id, rollouts.c.state.in_(("running", "paused", "halted"))
    )
    rolling = frozenset(connection.execute(going).scalars())
    newest: dict[str, int] = {}
    for row in found:
        newest[row["device_group"]] = max(newest.get(row["device_group"], 0), row["bundle_version"])
    inventory = load_inventory(connection, school_id, now_ms, stale_days)
    told = inventory.by_serial()
    enrolled = [
        _enrolled(
            row, register, checks.get(row["device_no"], []), newest[row["device_group"]], rolling, now_ms
        )
        for row in found
    ]
    enrolled = [replace(device, told=told.get(same_serial(device.serial), ())) for device in enrolled]
    present = {same_serial(device.serial) for device in enrolled if device.contact is not Contact.REVOKED}
    others = {
        serial: (register.get(serial), told.get(serial, ())) for serial in register.keys() | told.keys()
    }
    without = [
        _without_agent(asset, tales, registered=bool(register))
        for serial, (asset, tales) in others.items()
        if serial not in present
    ]
    without += [
        _without_agent(None, (tale,), registered=bool(register))
        for tale in inventory.tales
        if not tale.device.serial
    ]
    lines = sorted([*enrolled, *without], key=lambda device: (device.name.casefold(), device.serial))
    return Fleet(devices=tuple(lines), registered=bool(register))


def reach(connection: Connection, school_id: str, now_ms: int) -> Reach:
    """Count what ``Fleet`` lists, in three narrow queries: for the one line above the queue."""
    columns = devices.c.serial, devices.c.last_contact_ms, devices.c.proof_failure
    active = devices.c.school_id == school_id, devices.c.status == "active"
    rows = connection.execute(select(*columns).where(*active)).all()
    serials = connection.execute(select(assets.c.serial).where(assets.c.school_id == school_id)).scalars()
    register = {same_serial(serial) for serial in serials}
    present = {same_serial(row.serial) for row in rows}
    told, nameless = told_serials(connection, school_id)
    no_agent = len((register | told) - present) + nameless
    fresh = [row for row in rows if row.last_contact_ms and row.last_contact_ms > now_ms - TODAY_MS]
    return Reach(
        reached=len(fresh),
        all=len(rows) + no_agent,
        no_agent=no_agent,
        silent=len(rows) - len(fresh),
        unproved=sum(bool(row.proof_failure) for row in rows),
        registered=bool(register),
    )


def contact_of(status: str, last_contact_ms: int | None, now_ms: int) -> Contact:
    """Say how long ago a device was last heard."""
    if status == "revoked":
        return Contact.REVOKED
    if last_contact_ms is None:
        return Contact.NEVER
    age = now_ms - last_contact_ms
    for limit, contact in (
        (ONLINE_MS, Contact.ONLINE),
        (TODAY_MS, Contact.TODAY),
        (SILENT_MS, Contact.OFFLINE),
    ):
        if age < limit:
            return contact
    return Contact.SILENT


def _enrolled(
    row: RowMapping,
    register: dict[str, Asset],
    checks: list[Check],
    newest: int,
    rolling: frozenset[str],
    now_ms: int,
) -> Device:
    contact = contact_of(row["status"], row["last_contact_ms"], now_ms)
    asset = register.get(same_serial(row["serial"])) if row["serial"] else None
    device = Device(
        device_id=row["device_id"],
        device_no=row["device_no"],
        hostname=row["hostname"],
        group=row["device_group"],
        serial=row["serial"],
        operating_system=row["operating_system"],
        agent_version=row["agent_version"],
        simulated=row["simulated"],
        asset=asset,
        contact=contact,
        last_contact_ms=row["last_contact_ms"],
        bundle_version=row["bundle_version"],
        bundle_since_ms=row["bundle_since_ms"],
        behind=row["bundle_version"] < newest,
        rolling=row["device_group"] in rolling,
        spool_events=row["spool_pending_events"],
        spool_seconds=row["spool_oldest_seconds"],
        evicted_events=row["evicted_events"],
        set_aside_events=row["set_aside_events"],
        skew_ms=row["skew_ms"],
        proof_failure=row["proof_failure"],
        twin=row["same_serial_as"] is not None,
        checks=tuple(sorted(checks, key=lambda check: check.name)),
        remedies=(),
    )
    found = tuple(_remedies(device, registered=bool(register)))
    return replace(device, remedies=found if contact is not Contact.REVOKED else ())


def _remedies(device: Device, *, registered: bool) -> Iterable[Remedy]:
    stale = device.contact in (Contact.SILENT, Contact.NEVER)
    needs = {
        Remedy.DECIDE_TWIN: device.twin,
        Remedy.REPAIR_PROOF: bool(device.proof_failure),
        Remedy.FIND: stale,
        Remedy.REGISTER: registered and device.asset is None,
        Remedy.FIX_POSTURE: device.posture is PostureResult.FAIL,
        Remedy.GIVE_POLICY: device.bundle_version == 0 or (device.behind and not device.rolling),
        Remedy.EMPTY_SPOOL: (device.spool_seconds or 0) > OLD_SPOOL_SECONDS,
        Remedy.LOST_EVENTS: device.evicted_events + device.set_aside_events > 0,
        Remedy.SET_CLOCK: abs(device.skew_ms or 0) > SKEW_MS,
        Remedy.LEARN_POSTURE: not stale and device.posture is PostureResult.UNKNOWN,
    }
    return (remedy for remedy in Remedy if needs.get(remedy, False))


def _without_agent(asset: Asset | None, told: tuple[Tale, ...], *, registered: bool) -> Device:
    system = next((tale.device.operating_system for tale in told if tale.device.operating_system), "")
    needs = {
        Remedy.INSTALL: not told or _takes_agent(system, asset),
        Remedy.REGISTER: registered and asset is None,
        Remedy.TOLD_OPEN: any(tale.device.encryption is Told.NO for tale in told),
        Remedy.TOLD_OLD: bool(told) and all(tale.stale for tale in told),
    }
    return Device(
        device_id=None,
        device_no=None,
        hostname="",
        group="",
        serial=asset.serial if asset else told[0].device.serial,
        operating_system=system,
        agent_version="",
        simulated=False,
        asset=asset,
        contact=Contact.TOLD if told else Contact.NO_AGENT,
        last_contact_ms=None,
        bundle_version=0,
        bundle_since_ms=None,
        behind=False,
        rolling=False,
        spool_events=None,
        spool_seconds=None,
        evicted_events=0,
        set_aside_events=0,
        skew_ms=None,
        proof_failure="",
        twin=False,
        checks=(),
        remedies=tuple(remedy for remedy in Remedy if needs.get(remedy, False)),
        told=told,
    )


def _takes_agent(system: str, asset: Asset | None) -> bool:
    """Whether our agent runs there: a device management that carries a Linux device is no reason to go without."""
    return "linux" in f"{system} {asset.platform if asset else ''}".casefold()


def _check(row: RowMapping, now_ms: int) -> Check:
    return Check(
        name=row["check_name"],
        result=PostureResult(row["result"]),
        since_ms=row["since_ms"],
        evaluated_ms=row["evaluated_ms"],
        # Told by the device's own clock: one from the future says as little about today as an old one.
        stale=not -SKEW_MS <= now_ms - row["evaluated_ms"] <= STALE_POSTURE_MS,
        evidence=row["evidence"],
        unknown_because=row["unknown_because"],
    )


def _asset(row: RowMapping) -> Asset:
    return Asset(
        tag=row["asset_tag"],
        serial=row["serial"],
        description=row["description"],
        platform=row["platform"],
        assigned_to=row["assigned_to"],
    )
