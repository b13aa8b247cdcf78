"""The policy in force, group by group, as officers signed it: what pages on platforms and notices are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_policies.targets.common import Policy
from schoolkeeper_proto import rollout, trust
from schoolkeeper_proto.bundle import OpenBundle

FAULTS = (NotPublished, RepositoryError, trust.TrustRefused, OSError)
"""Why it cannot be read; each says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A group's signed bundle. ``before``: the version that devices still have whose ring is not open yet, else 0."""

    group: str
    bundle: OpenBundle
    groups: tuple[str, ...]
    """Every group that has a signed bundle."""
    before: int = 0

    @property
    def version(self) -> int:
        return self.bundle.manifest.version

    @property
    def policy(self) -> Policy:
        """The same rules as the exporters take them."""
        held = self.bundle
        sections = (
            held.applications,
            held.media,
            held.screen,
            held.posture,
            held.collection,
            held.notice,
            held.sites,
            held.browser,
            held.network,
            held.peripherals,
        )
        return Policy(
            school=held.manifest.school_id,
            group=self.group,
            sections=tuple(section for section in sections if section is not None),
        )


def in_force(state_dir: Path | None, school_id: str, wanted: str) -> InForce | None:
    """The group that is asked for, else the first; None while nothing is published. Raises one of ``FAULTS``."""
    if state_dir is None:
        raise RepositoryError("this console was started without the collector's files")
    repository = Repository(state_dir)
    now = repository.current()
    groups = tuple(sorted(now.bundles))
    if not groups:
        return None
    group = wanted if wanted in groups else groups[0]
    digest, _ = now.bundles[group]
    data = repository.read_file(f"targets/{trust.target_file_name(trust.bundle_target(group), digest.hex())}")
    plan = now.plans.get(group)
    rolling = plan is not None and rollout.stage_of(now.stage, plan).open_rings < len(plan.rings)
    return InForce(
        group=group,
        bundle=open_whole(data, school_id, group),
        groups=groups,
        before=plan.from_version if plan is not None and rolling else 0,
    )
