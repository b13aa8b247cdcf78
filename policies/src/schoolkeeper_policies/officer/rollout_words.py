"""A rollout's plan in plain words: officers sign who gets a policy first, and when the next ones do."""

from __future__ import annotations

from schoolkeeper_proto import policy


def plan_words(plan: policy.RolloutPlan) -> str:
    """One line: the rings in order, how long a device runs the policy before it counts, and what may be passed over."""
    rings = ", then ".join(_ring(ring) for ring in plan.rings)
    terms = plan.terms or policy.RolloutTerms()
    said = [
        f"rollout of {plan.group} in rings: {rings}",
        f"a device counts as fine after {_length(terms.soak_seconds)}",
    ]
    if terms.refusals_per_1000_device_days is not None:
        said.append(f"{terms.refusals_per_1000_device_days} refusals are expected on 1000 devices in a day")
    if terms.in_lessons_because:
        said.append(f"rings may open in lessons, because: {terms.in_lessons_because}")
    return "; ".join(said)


def release_words(release: policy.AgentRelease) -> str:
    """One line: which program devices would install, as administrator, and how many of them."""
    return (
        f"the agent {release.version} for {release.platform}-{release.architecture} is installed on "
        f"{release.per_mille / 10:g} % of these devices: the package with the SHA-256 {release.package_sha256.hex()}; "
        "compare it with the one that the makers name"
    )


def _ring(ring: policy.RolloutRing) -> str:
    if not ring.device_ids:
        return ring.name
    count = len(ring.device_ids)
    return f"{ring.name} ({count} named device{'s' if count != 1 else ''})"


def _length(seconds: int) -> str:
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {word}{'s' if seconds != size else ''}"
    return f"{seconds} seconds"
