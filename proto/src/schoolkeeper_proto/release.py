"""Which newer agent a device takes: what officers signed, for its platform, and only for the share that they opened.

The release is a target of the signed targets, so a device knows it from its pinned root, and the collector can neither
invent one nor hand out another file. It can hold one back. Pure.
"""

from __future__ import annotations

import re

from schoolkeeper_proto import policy
from schoolkeeper_proto.rollout import EVERYBODY, per_mille_of
from schoolkeeper_proto.trust import TrustRefused

PREFIX = "agent/"
PACKAGES = "packages/"
MOST_BYTES = 256 << 20
"""Of a package."""
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]{0,63}")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"}


def release_target(platform: str, architecture: str) -> str:
    return f"{PREFIX}{platform}-{architecture}"


def architecture_of(machine: str) -> str:
    """The package manager's word for a machine's own, as uname(2) has it."""
    return _DEBIAN.get(machine, machine)


def package_name(release: policy.AgentRelease) -> str:
    """What the package is fetched by."""
    return f"{PACKAGES}{release.package_sha256.hex()}"


def takes(release: policy.AgentRelease, device_id: bytes) -> bool:
    """Whether the share that officers opened reaches this device; wider shares reach all that narrower ones did."""
    return per_mille_of(release.salt, device_id) < release.per_mille


def check_release(release: policy.AgentRelease, school_id: str, target: str) -> None:
    """Raises ``TrustRefused`` for a release that does not fit its place or names nothing that could be installed."""
    if release.school_id != school_id:
        raise TrustRefused("wrong-school", f"the agent's release is of the school {release.school_id!r}")
    if release_target(release.platform, release.architecture) != target:
        raise TrustRefused("altered-target", f"{target!r} is a release for {release.platform!r}")
    if not _VERSION.fullmatch(release.version) or not _ARCHITECTURE.fullmatch(release.architecture):
        raise TrustRefused("malformed", f"the agent's release has the version {release.version[:80]!r}")
    if len(release.package_sha256) != 32 or len(release.files_sha256) != 32 or len(release.salt) < 16:
        raise TrustRefused("malformed", "the agent's release lacks a hash of 32 bytes, or a salt of 16")
    if not 0 < release.package_length <= MOST_BYTES or not 0 <= release.per_mille <= EVERYBODY:
        raise TrustRefused("malformed", "the agent's release has an impossible length or share")
