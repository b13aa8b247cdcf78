"""What a staged change would do, rule by rule, once it is verified from the officer's pin (``verifying.py``).

The collector is not believed. The chain of roots starts at the pin and may not be shorter or other than what this
officer saw before; what is in force must be signed by two officers; the new state must follow it; the plan is computed
here, from the bundles themselves. Pure: bytes and a memory in, a ``Review`` and the next memory out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from schoolkeeper_policies.comparing.moves import nearest
from schoolkeeper_policies.officer import group_moves, record, rollout_words, statement_words
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.staged import Staged
from schoolkeeper_policies.officer.verifying import (
    check_delegations,
    check_follows,
    files_of,
    held_file,
    open_whole,
    root_in_force,
    root_to_come,
    statements_of,
)
from schoolkeeper_policies.plan import Change, compare
from schoolkeeper_proto import mandatory, policy, release, rollout, trust
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.codec import decode

_BUNDLES = "bundles/"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleChange:
    """A group's bundle. Version 0 before: the group is new, and ``changes`` are those against another one's."""

    group: str
    target: str
    from_version: int
    to_version: int
    from_sha256: str
    to_sha256: str
    changes: tuple[Change, ...]
    against: str = ""
    """For a new group: the group in force that it is compared with."""

    @property
    def step(self) -> record.BundleStep:
        return record.BundleStep(
            group=self.group,
            from_version=self.from_version,
            from_sha256=self.from_sha256,
            to_version=self.to_version,
            to_sha256=self.to_sha256,
            against=self.against,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What an officer is asked to sign. ``lacks``: why it may not be signed or published yet; empty when nothing."""

    school_id: str
    school_name: str
    version: int
    expires_unix_ms: int
    root: trust.RootView
    new_root: bool
    statement: policy.KeyStatement
    bundles: tuple[BundleChange, ...]
    other: tuple[str, ...]
    record: record.ChangeRecord | None
    lacks: tuple[str, ...]
    signed_by: frozenset[str]
    root_signed_by: int
    seen: Memory
    """What to remember once this was looked at."""
    opened: Mapping[str, OpenBundle] = field(default_factory=dict)
    """The bundles as they would be in force, by group."""

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(change for bundle in self.bundles for change in bundle.changes)

    @property
    def weakening(self) -> tuple[Change, ...]:
        return record.weakening(self.changes)

    @property
    def duties_missing(self) -> tuple[trust.Duty, ...]:
        held = {duty.duty for duty in self.root.duties.values() if duty.officer in self.signed_by}
        return tuple(duty for duty in trust.Duty if duty not in held)

    @property
    def root_signatures_missing(self) -> int:
        return max(0, self.root.roles["root"].threshold - self.root_signed_by) if self.new_root else 0


def review(staged: Staged, memory: Memory, now_ms: int, *, draft: bool = False) -> Review:
    """Raises ``TrustRefused`` for what must not be signed, ``RecordError`` for an unreadable change-log entry.

    ``draft``: what the change-log entry says is not compared yet, because this review is to fill it.
    """
    in_force_root = root_in_force(staged, memory)
    root = root_to_come(staged, in_force_root)
    held = trust.read_targets(staged.in_force, in_force_root)
    view = trust.unchecked_targets(staged.targets)
    check_follows(view, held, memory, now_ms)
    check_delegations(staged.targets, root)
    files = files_of(staged, view)
    statement, before = statements_of(staged, files, held, root)
    if memory.school_id and statement.school_id != memory.school_id:
        raise trust.TrustRefused("wrong-school", f"the change is of the school {statement.school_id!r}")
    bundles, opened = _bundles(staged, files, view, held, statement.school_id, memory)
    listed, listed_before = (
        _moves(files.get(trust.MOVES_TARGET)),
        _moves(held_file(staged, held, trust.MOVES_TARGET)),
    )
    group_moves.check(listed, opened, statement.school_id, now_ms)
    other = (
        *statement_words.officer_changes(in_force_root, root),
        *statement_words.root_key_changes(in_force_root, root),
        *statement_words.statement_changes(before, statement),
        *group_moves.words(listed_before, listed),
        *_other_targets(view, held, files),
    )
    entry = _record(files, view, held, None if draft else bundles, statement.school_id)
    changes = tuple(change for bundle in bundles for change in bundle.changes)
    signed_by = frozenset(
        root.duties[key_id].officer
        for key_id in trust.signers(staged.targets, root.keys, root.roles["targets"])
        if key_id in root.duties
    )
    newest = staged.roots[-1]
    return Review(
        school_id=statement.school_id,
        school_name=statement.school_name,
        version=view.version,
        expires_unix_ms=view.expires_unix_ms,
        root=root,
        new_root=staged.has_new_root,
        statement=statement,
        bundles=bundles,
        other=other,
        record=entry,
        lacks=record.missing(entry, changes, root, statement),
        signed_by=signed_by,
        root_signed_by=len(trust.signers(staged.root, in_force_root.keys, in_force_root.roles["root"])),
        seen=replace(
            memory,
            school_id=statement.school_id,
            root_version=in_force_root.version,
            newest_root_sha256=trust.sha256(newest).hex(),
            targets_version=max(memory.targets_version, held.version),
            bundles=memory.bundles
            | {bundle.target: bundle.from_version for bundle in bundles if bundle.from_version},
        ),
        opened={group: each[0] for group, each in opened.items()},
    )


def _moves(data: bytes | None) -> policy.GroupMoves | None:
    return None if data is None else decode(policy.GroupMoves, data)


def _bundles(
    staged: Staged,
    files: dict[str, bytes],
    view: trust.TargetsView,
    held: trust.TargetsView,
    school_id: str,
    memory: Memory,
) -> tuple[tuple[BundleChange, ...], dict[str, list[OpenBundle]]]:
    """Every bundle that no device could have had until now, against the one of its group in force.

    A new group's is held against another group's: one that is weaker than all there are would else need nothing.
    Also every bundle to come by group, the one in force first.
    """
    for name in held.targets:
        if name.startswith(_BUNDLES) and name.count("/") == 1 and name not in view.targets:
            raise trust.TrustRefused(
                "no-target", f"the change takes away {name!r}: its devices would be without rules"
            )
    found: list[BundleChange] = []
    opened: dict[str, list[OpenBundle]] = {}
    for name in sorted(view.targets):
        if not name.startswith(_BUNDLES):
            continue
        group = name.split("/")[1]
        after = open_whole(files[name], school_id, group)
        opened.setdefault(group, []).append(after)
        known = {entry.sha256 for n, entry in held.targets.items() if n.split("/")[:2] == ["bundles", group]}
        if view.targets[name].sha256 in known:
            continue
        now_name = trust.bundle_target(group)
        old = held_file(staged, held, now_name)
        before = open_whole(old, school_id, group) if old else None
        from_version = before.manifest.version if before else 0
        against = before
        if against is None:
            against = _nearest(staged, held, school_id, after)
        if lacking := mandatory.missing(after.posture, after.collection):
            raise trust.TrustRefused("mandatory-check", f"the bundle of {group!r}: {lacking}")
        if after.manifest.version <= max(from_version, memory.bundles.get(name, 0)):
            raise trust.TrustRefused(
                "rollback",
                f"the bundle of {group!r} is version {after.manifest.version}: an older one was seen before",
            )
        found.append(
            BundleChange(
                group=group,
                target=name,
                from_version=from_version,
                to_version=after.manifest.version,
                from_sha256=held.targets[now_name].sha256 if before else "",
                to_sha256=view.targets[name].sha256,
                changes=compare(against, after),
                against=against.manifest.group if against and not before else "",
            )
        )
    return tuple(found), opened


def _nearest(staged: Staged, held: trust.TargetsView, school_id: str, new: OpenBundle) -> OpenBundle | None:
    """The bundle in force that a new group's is compared with."""
    groups = [name.removeprefix(_BUNDLES) for name in held.targets if name.startswith(_BUNDLES)]
    in_force = {}
    for group in groups:
        data = held_file(staged, held, trust.bundle_target(group)) if "/" not in group else None
        if data is not None:
            in_force[group] = open_whole(data, school_id, group)
    found = nearest(new, in_force)
    return in_force[found] if found else None


def _record(
    files: dict[str, bytes],
    view: trust.TargetsView,
    held: trust.TargetsView,
    bundles: tuple[BundleChange, ...] | None,
    school_id: str,
) -> record.ChangeRecord | None:
    data = files.get(record.TARGET)
    if data is None:
        if record.TARGET in held.targets:
            raise trust.TrustRefused("no-target", "the change leaves out the change log")
        return None
    if record.TARGET in held.targets and view.targets[record.TARGET] == held.targets[record.TARGET]:
        raise trust.TrustRefused(
            "change-log", "the change brings no entry of its own for the change log: stage anew"
        )
    entry = record.read(data)
    before = held.targets.get(record.TARGET)
    if (entry.school_id, entry.number) != (school_id, view.version) or entry.previous_sha256 != (
        before.sha256 if before else ""
    ):
        raise trust.TrustRefused(
            "change-log", "the change-log entry does not follow the one before: stage anew"
        )
    if bundles is None:
        return entry
    steps = tuple(bundle.step for bundle in bundles)
    said = record.lines(change for bundle in bundles for change in bundle.changes)
    if (entry.bundles, entry.changes) != (steps, said):
        raise trust.TrustRefused(
            "change-log",
            "the change-log entry says something else than the bundles do: stage anew, or update this program",
        )
    return entry


def _other_targets(
    view: trust.TargetsView, held: trust.TargetsView, files: Mapping[str, bytes]
) -> tuple[str, ...]:
    """What is neither bundle nor statement: a rollout in words, anything else by its name. Never passed over."""
    found = []
    for name in sorted(view.targets.keys() | held.targets.keys()):
        told = name in (trust.KEYS_TARGET, trust.MOVES_TARGET, record.TARGET)
        if told or name == trust.bundle_target(name.split("/")[-1]):
            continue
        was, now = held.targets.get(name), view.targets.get(name)
        if was != now and now is not None and name == rollout.plan_target(name.split("/")[-1]):
            found.append(rollout_words.plan_words(decode(policy.RolloutPlan, files[name])))
        elif was != now and now is not None and name.startswith(release.PREFIX):
            found.append(rollout_words.release_words(decode(policy.AgentRelease, files[name])))
        elif was != now:
            found.append(f"{name} is {'new' if was is None else 'removed' if now is None else 'changed'}")
    return tuple(found)


def when(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%A %d %B %Y, %H:%M")
