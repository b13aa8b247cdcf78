"""Which ring a device is in: stable, cumulative, close to its share; and no way back on the device."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_proto import rollout
from schoolkeeper_proto.policy import GroupStage, RolloutPlan, RolloutRing, RolloutStage

SALT = bytes(16)
FROM, TO, OTHER = b"f" * 32, b"t" * 32, b"x" * 32
IDS = st.binary(min_size=16, max_size=16)


def plan(*shares: int, named: tuple[bytes, ...] = (), salt: bytes = SALT) -> RolloutPlan:
    rings = (RolloutRing(name="pilot", device_ids=named),) if named else ()
    rings += tuple(RolloutRing(name=str(share), per_mille=share) for share in shares)
    return RolloutPlan(
        school_id="s", group="g", rollout_id=bytes(16), from_bundle_hash=FROM, from_version=4,
        to_bundle_hash=TO, to_version=5, rings=rings, salt=salt, planned_unix_ms=1,
    )  # fmt: skip


def stage(opened: int, *, paused: bool = False, rollout_id: bytes = bytes(16)) -> RolloutStage:
    entry = GroupStage(group="g", rollout_id=rollout_id, open_rings=opened, paused=paused)
    return RolloutStage(school_id="s", version=1, groups=(entry,))


@given(device=IDS, shares=st.lists(st.integers(1, 999), max_size=6, unique=True))
def test_every_device_is_in_exactly_one_ring_and_wider_rings_hold_the_narrower(
    device: bytes, shares: list[int]
) -> None:
    made = plan(*sorted(shares), 1000)
    ring = rollout.ring_of(made, device)
    place = rollout.per_mille_of(SALT, device)
    assert place < made.rings[ring].per_mille
    assert all(place >= earlier.per_mille for earlier in made.rings[:ring])
    taken = [rollout.choose(made, stage(n), device, in_force=None) for n in range(len(made.rings) + 1)]
    # Once its ring is open, it stays open as more open.
    assert taken == [rollout.Take.FROM] * (ring + 1) + [rollout.Take.TO] * (len(made.rings) - ring)


@given(device=IDS)
def test_a_named_device_is_in_the_ring_that_names_it(device: bytes) -> None:
    assert rollout.ring_of(plan(100, 1000, named=(device,)), device) == 0


def test_shares_are_close_to_what_was_asked_and_another_salt_gives_others() -> None:
    devices = [os.urandom(16) for _ in range(4000)]
    made = plan(100, 500, 1000)
    rings = [rollout.ring_of(made, device) for device in devices]
    assert 300 < rings.count(0) < 500
    assert 1400 < rings.count(1) < 1800
    other = [rollout.ring_of(plan(100, 500, 1000, salt=b"another salt of 16"), device) for device in devices]
    assert other != rings


@given(
    device=IDS,
    opened=st.integers(0, 3),
    paused=st.booleans(),
    known=st.booleans(),
    said=st.booleans(),
)
def test_a_device_that_has_the_new_bundle_never_goes_back(
    device: bytes, opened: int, paused: bool, known: bool, said: bool
) -> None:
    """Whatever the collector's key signs, and if it signs nothing."""
    shown = (
        stage(opened, paused=paused, rollout_id=bytes(16) if known else b"another rollout!") if said else None
    )
    made = plan(100, 500, 1000)
    assert rollout.choose(made, shown, device, in_force=(TO, 5)) is rollout.Take.TO
    # One whose bundle is newer than the old one, from a rollout that this one replaced.
    assert rollout.choose(made, shown, device, in_force=(OTHER, 5)) is rollout.Take.TO


@given(device=IDS, opened=st.integers(0, 3))
def test_paused_or_unsaid_nobody_takes_it_newly(device: bytes, opened: int) -> None:
    made = plan(100, 500, 1000)
    for held in (None, (FROM, 4), (OTHER, 3)):
        assert rollout.choose(made, stage(opened, paused=True), device, in_force=held) is rollout.Take.FROM
        assert rollout.choose(made, None, device, in_force=held) is rollout.Take.FROM
        other = stage(3, rollout_id=b"another rollout!")
        assert rollout.choose(made, other, device, in_force=held) is rollout.Take.FROM
