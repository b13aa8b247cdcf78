"""A rollout's plan, made when a change is staged: what officers sign beside both bundles."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from schoolkeeper_collector.school.repository import NotPublished, Published, Repository, RepositoryError
from schoolkeeper_proto import policy, rollout, trust
from schoolkeeper_proto.codec import decode, encode

DEFAULT_SOAK_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Targets that a rollout brings, and those that go because a rollout ends."""

    changed: dict[str, bytes] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()


def without_rings(held: Published, group: str) -> Staged:
    """Everybody takes the new bundle at once; an earlier rollout of the group ends."""
    names = {rollout.plan_target(group), rollout.previous_target(group)} if group in held.plans else ()
    return Staged(removed=frozenset(names))


def with_rings(
    repository: Repository,
    held: Published,
    group: str,
    bundle: bytes,
    rings: tuple[policy.RolloutRing, ...],
    terms: policy.RolloutTerms,
    *,
    unfinished: bool,
    now_ms: int,
) -> Staged:
    """The plan from what is in force to ``bundle``, and the bundle that devices keep until their ring opens.

    ``unfinished``: the rollout in force has not reached everybody, so that most devices have *its* old bundle; the
    new plan starts from there, with the same salt: who was first stays first. Raises ``RepositoryError``.
    """
    if group not in held.bundles:
        raise RepositoryError(
            f"the group {group!r} has no bundle in force: the first one cannot be rolled out in rings; "
            "leave --rings out"
        )
    if "/" in group:
        raise RepositoryError(f"the group {group!r} has a '/' in its name: it cannot be rolled out in rings")
    before = held.plans.get(group) if unfinished else None
    old = bundle_in_force(repository, held, group, previous=before is not None)
    from_version = _manifest(old).version
    manifest = _manifest(bundle)
    plan = policy.RolloutPlan(
        school_id=manifest.school_id,
        group=group,
        rollout_id=os.urandom(16),
        from_bundle_hash=hashlib.sha256(old).digest(),
        from_version=from_version,
        to_bundle_hash=hashlib.sha256(bundle).digest(),
        to_version=manifest.version,
        rings=rings,
        salt=before.salt if before else os.urandom(16),
        planned_unix_ms=now_ms,
        terms=terms,
    )
    return Staged(changed={rollout.plan_target(group): encode(plan), rollout.previous_target(group): old})


def previous_content(repository: Repository, held: Published, group: str, now_ms: int) -> bytes:
    """The rules that held before the newest ones, as a bundle with the next version. Raises ``RepositoryError``."""
    if group not in held.bundles:
        raise RepositoryError(f"the group {group!r} has no bundle in force")
    newest, version = held.bundles[group]
    content = _sections(bundle_in_force(repository, held, group))
    for old in _earlier(repository, held, group):
        if hashlib.sha256(old).digest() != newest and _sections(old) != content:
            container = decode(policy.PolicyBundle, old)
            manifest = replace(
                decode(policy.BundleManifest, container.manifest),
                version=version + 1,
                compiled_at_unix_ms=now_ms,
            )
            return encode(replace(container, manifest=encode(manifest)))
    raise RepositoryError(f"the group {group!r} never had other rules than those in force")


def _earlier(repository: Repository, held: Published, group: str) -> Iterator[bytes]:
    """The group's bundles of earlier publications, the newest first."""
    for version in range(held.targets_version - 1, 0, -1):
        try:
            view = trust.unchecked_targets(repository.read_file(f"metadata/{version}.targets.json"))
            entry = view.targets.get(trust.bundle_target(group))
            if entry is None:
                continue
            name = trust.target_file_name(trust.bundle_target(group), entry.sha256)
            data = repository.read_file(f"targets/{name}")
        except NotPublished:
            continue
        # Its name is its hash; a file that was changed on the disk is not what was published.
        if hashlib.sha256(data).hexdigest() == entry.sha256:
            yield data


def bundle_in_force(repository: Repository, held: Published, group: str, *, previous: bool = False) -> bytes:
    """The published bundle, or the one before it in the rollout that goes on. Raises ``RepositoryError``."""
    if previous:
        name, sha256 = rollout.previous_target(group), held.plans[group].from_bundle_hash
    else:
        name, sha256 = trust.bundle_target(group), held.bundles[group][0]
    data = repository.read_file(f"targets/{trust.target_file_name(name, sha256.hex())}")
    if hashlib.sha256(data).digest() != sha256:
        raise RepositoryError(
            f"the file of {name!r} was changed on this disk: restore trust/ from the backup"
        )
    return data


def _manifest(bundle: bytes) -> policy.BundleManifest:
    return decode(policy.BundleManifest, decode(policy.PolicyBundle, bundle).manifest)


def _sections(bundle: bytes) -> tuple[policy.BundleSection, ...]:
    return decode(policy.PolicyBundle, bundle).sections
