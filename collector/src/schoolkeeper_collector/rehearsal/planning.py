"""What is in force, what would follow it, and the plan from the one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schoolkeeper_collector.rehearsal.reading import StoredSightings, devices_per_group
from schoolkeeper_collector.school.files import SchoolPaths
from schoolkeeper_collector.school.repository import NotPublished, Repository
from schoolkeeper_collector.school.staging import read_waiting
from schoolkeeper_collector.store.database import Store
from schoolkeeper_policies.subject import LoadedPack, open_any
from schoolkeeper_policies.trying.backtest import Backtest, Outcome, Pair
from schoolkeeper_policies.trying.report import Plan, make_plan
from schoolkeeper_proto import trust
from schoolkeeper_proto.bundle import OpenBundle


class NothingToPlan(Exception):
    """Neither a staged change with a policy nor a pack was given; the message says what to do."""


def in_force(state_dir: Path) -> dict[str, OpenBundle]:
    """Each group's published bundle; empty before the first publication."""
    repository = Repository(state_dir)
    try:
        published = repository.current()
    except NotPublished:
        return {}
    found = {}
    for group, (digest, _) in published.bundles.items():
        name = trust.bundle_target(group)
        path = trust.target_file_name(name, digest.hex())
        found[group] = open_any(repository.read_file(f"targets/{path}"), name)
    return found


def waiting(state_dir: Path, now_ms: int) -> dict[str, OpenBundle]:
    """Each group's bundle of the change that waits for signatures; empty when none waits."""
    held = read_waiting(state_dir, now_ms)
    if held is None:
        return {}
    found = {}
    for name, data in held[0].files.items():
        # bundles/GROUP/previous, one level deeper, is what a rollout goes back to.
        if name.startswith("targets/bundles/") and name.count("/") == 2:
            bundle = open_any(data, name)
            found[bundle.manifest.group] = bundle
    return found


def pairs_of(state_dir: Path, pack: str, now_ms: int) -> dict[str, Pair]:
    """What would follow what: a pack's bundles, or without one those of the change that waits.

    Raises ``NothingToPlan``, ``PolicyError``, ``RepositoryError``.
    """
    if pack:
        return _pairs_of_pack(
            LoadedPack.read(pack, imported=SchoolPaths(state_dir).register), in_force(state_dir), now_ms
        )
    pairs = pairs_of_waiting(state_dir, now_ms)
    if not pairs:
        raise NothingToPlan(
            "no change of policy waits: name a pack, or stage one with `schoolkeeper-collector stage --pack`"
        )
    return pairs


def pairs_of_waiting(state_dir: Path, now_ms: int) -> dict[str, Pair]:
    """Those of the change that waits for signatures; empty when none waits, or none with a policy."""
    before = in_force(state_dir)
    after = waiting(state_dir, now_ms)
    return {group: Pair(before=before.get(group), after=bundle) for group, bundle in after.items()}


def _pairs_of_pack(pack: LoadedPack, before: Mapping[str, OpenBundle], now_ms: int) -> dict[str, Pair]:
    groups = list(before) or [one.name for one in pack.pack.groups]
    pairs = {}
    for group in groups:
        held = before.get(group)
        key = held.collection.pseudonym_key if held is not None else bytes(32)
        pairs[group] = Pair(before=held, after=pack.bundle(group, now_ms=now_ms, pseudonym_key=key))
    return pairs


def rehearse(
    store: Store, school_id: str, zone: str, pairs: Mapping[str, Pair], *, since_ms: int, until_ms: int
) -> tuple[Plan, int]:
    """The plan with its backtest, and how many stored events could not be read."""
    with store.read() as connection:
        sightings = StoredSightings(connection, store.keystore, school_id, since_ms, until_ms)
        outcome = tried(pairs, sightings, since_ms=since_ms, until_ms=until_ms)
        counted = devices_per_group(connection, school_id)
    return make_plan(pairs, devices=counted, outcome=outcome, time_zone=zone), sightings.unreadable


def tried(pairs: Mapping[str, Pair], sightings: StoredSightings, *, since_ms: int, until_ms: int) -> Outcome:
    backtest = Backtest(pairs, since_ms=since_ms, until_ms=until_ms)
    backtest.feed(sightings)
    return backtest.result()
