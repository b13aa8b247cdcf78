"""Which of two signed bundles a device takes while a new policy is rolled out. Pure: what the device itself decides.

Officers sign both bundles and the plan; the collector's online key signs only how many rings are open. So whoever
holds that key can hold a signed bundle back or hand it out, and can invent none, name no third and send no device
back to an older one.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from schoolkeeper_proto import policy
from schoolkeeper_proto.trust import TargetsView, TrustRefused, bundle_target

EVERYBODY = 1000
MAX_RINGS = 16
_FRACTION = 1 << 64


class Take(StrEnum):
    """Which bundle: the new one, or the one that was in force before."""

    TO = "to"
    FROM = "from"


def plan_target(group: str) -> str:
    return f"rollout/{group}"


def previous_target(group: str) -> str:
    return f"{bundle_target(group)}/previous"


def per_mille_of(salt: bytes, device_id: bytes) -> float:
    """A device's stable place in [0, 1000): the first 64 bits of SHA-256(salt || device id), scaled."""
    number = int.from_bytes(hashlib.sha256(salt + device_id).digest()[:8], "big")
    return number * EVERYBODY / _FRACTION


def ring_of(plan: policy.RolloutPlan, device_id: bytes) -> int:
    """The device's ring, from 0: the first that names it, else the first whose share is above its place."""
    for number, ring in enumerate(plan.rings):
        if device_id in ring.device_ids:
            return number
    place = per_mille_of(plan.salt, device_id)
    for number, ring in enumerate(plan.rings):
        if place < ring.per_mille:
            return number
    return len(plan.rings) - 1


def stage_of(stage: policy.RolloutStage | None, plan: policy.RolloutPlan) -> policy.GroupStage:
    """What the collector says of this very rollout; when it says nothing of it, no ring is open."""
    for entry in stage.groups if stage is not None else ():
        if entry.group == plan.group and entry.rollout_id == plan.rollout_id:
            return entry
    return policy.GroupStage(group=plan.group, rollout_id=plan.rollout_id, open_rings=0, paused=False)


def choose(
    plan: policy.RolloutPlan,
    stage: policy.RolloutStage | None,
    device_id: bytes,
    *,
    in_force: tuple[bytes, int] | None,
) -> Take:
    """``in_force``: hash and version of this group's bundle that is in force on the device, None for none of it.

    There is no way back: a device that has the new bundle keeps it, whatever the stage says later; one whose bundle
    is newer than the plan's old one (it was in an early ring of a rollout that this one replaces) takes the new one.
    """
    if in_force is not None:
        held, version = in_force
        if held == plan.to_bundle_hash or (held != plan.from_bundle_hash and version > plan.from_version):
            return Take.TO
    said = stage_of(stage, plan)
    is_open = ring_of(plan, device_id) < said.open_rings
    return Take.TO if is_open and not said.paused else Take.FROM


def check_plan(plan: policy.RolloutPlan, targets: TargetsView, school_id: str, group: str) -> None:
    """Raises ``TrustRefused`` for a plan that does not fit the targets that it was signed with."""
    if plan.school_id != school_id:
        raise TrustRefused("wrong-school", f"the rollout plan is of the school {plan.school_id!r}")
    if plan.group != group:
        raise TrustRefused("wrong-group", f"the rollout plan is for the group {plan.group!r}, not {group!r}")
    if len(plan.rollout_id) != 16 or len(plan.salt) < 16:
        raise TrustRefused("malformed", "the rollout plan needs an id of 16 bytes and a salt of at least 16")
    shares = [ring.per_mille for ring in plan.rings]
    if not 1 <= len(shares) <= MAX_RINGS or shares[-1] != EVERYBODY or shares != sorted(shares):
        raise TrustRefused(
            "malformed", f"the rollout's rings must widen, and the last take everybody; these say {shares}"
        )
    if plan.to_version <= plan.from_version:
        raise TrustRefused(
            "rollback",
            f"the rollout leads from version {plan.from_version} to {plan.to_version}: only forward",
        )
    for name, wanted in (
        (bundle_target(group), plan.to_bundle_hash),
        (previous_target(group), plan.from_bundle_hash),
    ):
        entry = targets.targets.get(name)
        if entry is None or entry.sha256 != wanted.hex():
            raise TrustRefused("altered-target", f"the rollout plan names another {name!r} than was signed")


def check_stage(stage: policy.RolloutStage, school_id: str) -> None:
    """Raises ``TrustRefused`` for another school's stage."""
    if stage.school_id != school_id:
        raise TrustRefused("wrong-school", f"the rollout stage is of the school {stage.school_id!r}")
