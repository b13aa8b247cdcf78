"""The policy bundle's container: built by the authoring side, checked by the device before anything is used.

A bundle is taken whole or refused whole. It is refused, with the reason, when a section's length or hash differs
from the manifest, when a required section or capability is unknown, or when it is for another school or group.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import WireFormatError, decode, encode

FORMAT = 1
MAX_BUNDLE_BYTES = 4 << 20

SECTION_CLASSES: dict[tuple[str, int], type[policy.Section]] = {
    ("applications", 1): policy.ApplicationsSection,
    ("media", 1): policy.MediaSection,
    ("screen", 1): policy.ScreenSection,
    ("posture", 1): policy.PostureSection,
    ("collection", 1): policy.CollectionSection,
    ("notice", 1): policy.NoticeSection,
    ("sites", 1): policy.SitesSection,
    ("people", 1): policy.PeopleSection,
    ("browser", 1): policy.BrowserSection,
    ("network", 1): policy.NetworkSection,
    ("peripherals", 1): policy.PeripheralsSection,
    ("grants", 1): policy.GrantsSection,
    ("agreement", 1): policy.AgreementSection,
}
REQUIRED_SECTIONS = frozenset({"applications", "media", "screen", "posture", "collection", "notice"})
"""Known to every device. The others may be ignored by one that does not know them; where that would make a rule
weaker, the bundle asks for a capability instead."""
_NAME_OF: dict[type[policy.Section], tuple[str, int]] = {cls: key for key, cls in SECTION_CLASSES.items()}


class BundleRefused(ValueError):
    """A bundle that must not be used; the message says why, and the policy in force stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBundle:
    """A bundle whose every section was checked. Absent sections mean: no such rules."""

    hash: bytes
    manifest: policy.BundleManifest
    applications: policy.ApplicationsSection = field(default_factory=policy.ApplicationsSection)
    media: policy.MediaSection = field(default_factory=policy.MediaSection)
    screen: policy.ScreenSection | None = None
    posture: policy.PostureSection = field(default_factory=policy.PostureSection)
    collection: policy.CollectionSection = field(default_factory=policy.CollectionSection)
    notice: policy.NoticeSection = field(default_factory=policy.NoticeSection)
    sites: policy.SitesSection = field(default_factory=policy.SitesSection)
    people: policy.PeopleSection | None = None
    browser: policy.BrowserSection = field(default_factory=policy.BrowserSection)
    network: policy.NetworkSection = field(default_factory=policy.NetworkSection)
    peripherals: policy.PeripheralsSection = field(default_factory=policy.PeripheralsSection)
    grants: policy.GrantsSection | None = None
    agreement: policy.AgreementSection | None = None
    ignored_sections: tuple[str, ...] = ()


def build(
    *,
    school_id: str,
    group: str,
    version: int,
    compiled_at_unix_ms: int,
    sections: tuple[policy.Section, ...],
    required_capabilities: tuple[str, ...] = (),
    source_hash: bytes = b"",
) -> bytes:
    """The serialised bundle. Deterministic: the same input gives the same bytes."""
    packed = []
    entries = []
    for section in sections:
        name, section_version = _NAME_OF[type(section)]
        data = encode(section)
        packed.append(policy.BundleSection(name=name, data=data))
        entries.append(
            policy.SectionEntry(
                name=name,
                version=section_version,
                required=name in REQUIRED_SECTIONS,
                sha256=hashlib.sha256(data).digest(),
                length=len(data),
            )
        )
    manifest = policy.BundleManifest(
        format=FORMAT,
        school_id=school_id,
        group=group,
        version=version,
        compiled_at_unix_ms=compiled_at_unix_ms,
        sections=tuple(entries),
        required_capabilities=required_capabilities,
        source_hash=source_hash,
    )
    return encode(policy.PolicyBundle(manifest=encode(manifest), sections=tuple(packed)))


def open_bundle(data: bytes, *, school_id: str, group: str, capabilities: frozenset[str]) -> OpenBundle:
    """Checks a bundle against its own manifest, this device's place and its abilities; raises ``BundleRefused``."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleRefused(f"the bundle has {len(data)} bytes, {MAX_BUNDLE_BYTES} are allowed")
    try:
        container = decode(policy.PolicyBundle, data)
        manifest = decode(policy.BundleManifest, container.manifest)
    except WireFormatError as error:
        raise BundleRefused(f"the bundle cannot be read: {error}") from error
    _check_place(manifest, school_id, group)
    missing = set(manifest.required_capabilities) - capabilities
    if missing:
        raise BundleRefused(f"this agent cannot do {', '.join(sorted(missing))}: update the agent")
    opened, ignored = _open_sections(container, manifest)
    return OpenBundle(
        hash=hashlib.sha256(data).digest(),
        manifest=manifest,
        ignored_sections=tuple(ignored),
        **opened,  # type: ignore[arg-type]
    )


def content_hash(data: bytes | policy.BundleManifest) -> bytes:
    """SHA-256 over what a bundle (or its manifest) says, whenever and as whichever version it was compiled.

    Raises ``WireFormatError``.
    """
    manifest = data
    if isinstance(manifest, bytes):
        manifest = decode(policy.BundleManifest, decode(policy.PolicyBundle, manifest).manifest)
    said = sorted((entry.name, entry.version, entry.sha256.hex()) for entry in manifest.sections)
    return hashlib.sha256(json.dumps([manifest.group, said]).encode()).digest()


def _check_place(manifest: policy.BundleManifest, school_id: str, group: str) -> None:
    if manifest.format != FORMAT:
        raise BundleRefused(
            f"the bundle's format is {manifest.format}, this agent reads {FORMAT}: update the agent"
        )
    if manifest.school_id != school_id:
        raise BundleRefused(
            f"the bundle is of the school {manifest.school_id!r}, this device of {school_id!r}"
        )
    if manifest.group != group:
        raise BundleRefused(f"the bundle is for the group {manifest.group!r}, this device is in {group!r}")


def _open_sections(
    container: policy.PolicyBundle, manifest: policy.BundleManifest
) -> tuple[dict[str, policy.Section], list[str]]:
    held = {section.name: section.data for section in container.sections}
    if len(held) != len(container.sections) or set(held) != {entry.name for entry in manifest.sections}:
        raise BundleRefused("the bundle's sections are not those its manifest lists")
    opened: dict[str, policy.Section] = {}
    ignored = []
    for entry in manifest.sections:
        data = held[entry.name]
        if len(data) != entry.length or hashlib.sha256(data).digest() != entry.sha256:
            raise BundleRefused(f"the section {entry.name!r} differs from what the manifest promises")
        cls = SECTION_CLASSES.get((entry.name, entry.version))
        if cls is None:
            if entry.required:
                raise BundleRefused(
                    f"the section {entry.name!r} version {entry.version} is unknown to this agent: update the agent"
                )
            ignored.append(entry.name)
            continue
        try:
            opened[entry.name] = decode(cls, data)
        except WireFormatError as error:
            raise BundleRefused(f"the section {entry.name!r} cannot be read: {error}") from error
    return opened, ignored
