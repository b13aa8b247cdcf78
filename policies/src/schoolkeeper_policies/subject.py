"""A pack or a compiled bundle, opened so that questions can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from schoolkeeper_policies import model
from schoolkeeper_policies.compile import capabilities, register_of, sections
from schoolkeeper_policies.filekinds import looks_like
from schoolkeeper_policies.parse import load_pack, pack_folder, read_file
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.registers import Register
from schoolkeeper_policies.source import Source
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto.bundle import BundleRefused, OpenBundle, build, open_bundle
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.decide import Engine
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.people import PeopleMistake, PeopleTable
from schoolkeeper_proto.policy import BundleManifest, PolicyBundle

TRIAL_KEY = bytes(32)
"""Pseudonyms of a pack that is only asked about, never published."""
TRIAL_SCHOOL = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """``pack``, ``register`` and ``positions`` (rule id -> where it stands) are there for a pack only."""

    name: str
    bundle: OpenBundle
    engine: Engine
    people: PeopleTable
    time_zone: str
    pack: model.Pack | None = None
    register: Register | None = None
    positions: dict[str, Position] = field(default_factory=dict)


def open_subject(
    name_or_path: str,
    *,
    group: str = "",
    now_ms: int,
    pseudonym_key: bytes = TRIAL_KEY,
    register: Path | None = None,
) -> Subject:
    """A pack's folder or name, or the file of a compiled bundle. Raises ``PolicyError``.

    A bundle is of one group; for a pack ``group`` chooses one, and empty is its first.
    """
    path = Path(name_or_path)
    if path.is_file():
        return _of_bundle(name_or_path, path.read_bytes(), group)
    return LoadedPack.read(name_or_path, register=register).subject(
        group, now_ms=now_ms, pseudonym_key=pseudonym_key
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPack:
    """A pack that is read once and compiled for several groups."""

    name: str
    pack: model.Pack
    register: Register | None
    positions: dict[str, Position]

    @classmethod
    def read(cls, name_or_path: str, *, register: Path | None = None, imported: Path | None = None) -> Self:
        """``register``, ``imported``: as ``register_of`` takes them. Raises ``PolicyError``."""
        folder = pack_folder(name_or_path)
        pack = load_pack(name_or_path)
        return cls(
            name=name_or_path,
            pack=pack,
            register=register_of(pack, folder, given=register, imported=imported),
            positions=dict(_positions(folder)),
        )

    def bundle(self, group: str, *, now_ms: int, pseudonym_key: bytes = TRIAL_KEY) -> OpenBundle:
        """What a device of the group would open. Raises ``PolicyError``."""
        groups = [known.name for known in self.pack.groups]
        if group not in groups and self.pack.about.other_groups != "rules-for-all":
            raise _refused(self.name, f"the pack has no group {group!r}", suggest(group, groups, "groups"))
        zone = ZoneInfo(self.pack.school.time_zone)
        held = sections(
            self.pack,
            group,
            pseudonym_key,
            register=self.register,
            today=datetime.fromtimestamp(now_ms / 1000, zone).date(),
        )
        data = build(
            school_id=TRIAL_SCHOOL,
            group=group,
            version=1,
            compiled_at_unix_ms=now_ms,
            sections=held,
            required_capabilities=capabilities(held),
            source_hash=self.pack.source_hash,
        )
        return open_any(data, self.name)

    def subject(self, group: str = "", *, now_ms: int, pseudonym_key: bytes = TRIAL_KEY) -> Subject:
        """Ready for questions. Raises ``PolicyError``."""
        return _subject(
            self.name,
            self.bundle(group or self.pack.groups[0].name, now_ms=now_ms, pseudonym_key=pseudonym_key),
            self.pack.school.time_zone,
            pack=self.pack,
            register=self.register,
            positions=self.positions,
        )


def _of_bundle(name: str, data: bytes, group: str) -> Subject:
    bundle = open_any(data, name)
    if group and bundle.manifest.group != group:
        reason = f"the bundle is for the group {bundle.manifest.group!r}, not {group!r}"
        raise _refused(name, reason, "leave --group out, or give that group's bundle")
    return _subject(name, bundle, _zone_of(bundle))


def _subject(name: str, bundle: OpenBundle, zone: str, **more: object) -> Subject:
    try:
        engine = Engine(bundle)
        people = PeopleTable(bundle.people, bundle.collection.pseudonym_key)
    except (TableMistake, PeopleMistake) as error:
        raise _refused(name, str(error), "a device would refuse this bundle") from error
    return Subject(name=name, bundle=bundle, engine=engine, people=people, time_zone=zone, **more)  # type: ignore[arg-type]


def open_any(data: bytes, name: str) -> OpenBundle:
    """A bundle of any school, group and capability, checked against its own manifest; raises ``PolicyError``."""
    try:
        manifest = decode(BundleManifest, decode(PolicyBundle, data).manifest)
        return open_bundle(
            data,
            school_id=manifest.school_id,
            group=manifest.group,
            capabilities=frozenset(manifest.required_capabilities),
        )
    except (BundleRefused, WireFormatError) as error:
        found = looks_like(data)
        if not found.startswith("a compiled policy"):
            raise _refused(
                name,
                f"this is not a compiled policy (bundle); it looks like {found}",
                "give a pack's folder or name, or the file of a bundle",
            ) from error
        raise _refused(name, f"no bundle that can be opened: {error}", "compile it anew") from error


def _zone_of(bundle: OpenBundle) -> str:
    """The school's time zone, as its rules name it; UTC where none does."""
    sections = (bundle.applications, bundle.media, bundle.browser, bundle.network, bundle.peripherals)
    for section in sections:
        for rule in section.rules:
            if rule.when is not None and rule.when.time_zone:
                return rule.when.time_zone
    return "UTC"


def _positions(folder: Path) -> Iterator[tuple[str, Position]]:
    """Where everything with an ``id`` stands in the pack's files."""
    for path in sorted(folder.glob("*.yaml")):
        source = read_file(path, folder)
        yield from _ids(source)


def _ids(source: Source) -> Iterator[tuple[str, Position]]:
    for path, position in source.values.items():
        if path and path[-1] == "id":
            value = source.value
            for step in path:
                value = value[step]  # type: ignore[index]
            if isinstance(value, str):
                yield value, position


def _refused(name: str, reason: str, remedy: str) -> PolicyError:
    return PolicyError([Problem(position=Position(file=name), reason=reason, remedy=remedy)])
