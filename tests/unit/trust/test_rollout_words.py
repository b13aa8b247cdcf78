"""What officers read of a rollout before they sign it."""

from __future__ import annotations

from schoolkeeper_policies.officer.rollout_words import plan_words
from schoolkeeper_proto import policy


def test_rings_soak_and_what_is_passed_over_are_said() -> None:
    plan = policy.RolloutPlan(
        school_id="westgate.example",
        group="ks2-laptops",
        rollout_id=b"r" * 16,
        from_bundle_hash=b"a" * 32,
        from_version=1,
        to_bundle_hash=b"b" * 32,
        to_version=2,
        rings=(
            policy.RolloutRing(name="pilot", device_ids=(b"d" * 16, b"e" * 16)),
            policy.RolloutRing(name="50%", per_mille=500),
            policy.RolloutRing(name="all", per_mille=1000),
        ),
        salt=b"s" * 16,
        planned_unix_ms=0,
        terms=policy.RolloutTerms(
            soak_seconds=1_800, refusals_per_1000_device_days=40, in_lessons_because="the server room floods"
        ),
    )
    said = plan_words(plan)
    for part in (
        "rollout of ks2-laptops in rings: pilot (2 named devices), then 50%, then all",
        "fine after 30 minutes",
        "40 refusals are expected",
        "in lessons, because: the server room floods",
    ):
        assert part in said
