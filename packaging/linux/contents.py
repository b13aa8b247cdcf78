"""What each package holds: members of the workspace, hashed requirements, programs, and files of the system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One .deb.

    ``programs`` maps a place to the module whose ``main`` runs there; ``files`` maps a file of this package's folder
    to its place on the device. ``service``: it has a unit, a configuration and maintainer scripts. ``short``: compiled
    without docstrings, since its help is not made from them and its memory is a laptop's.
    """

    name: str
    folder: str
    members: tuple[str, ...]
    requirements: str
    programs: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...] = ()
    manuals: tuple[str, ...] = ()
    service: bool = True
    short: bool = False


PACKAGES = {
    "agent": Package(
        name="schoolkeeper-agent",
        folder="agent",
        members=("proto", "agent"),
        requirements="agent.txt",
        short=True,
        programs=(("usr/bin/schoolkeeper-agent", "schoolkeeper_agent.cli"),),
        files=(
            ("schoolkeeper-session.desktop", "etc/xdg/autostart/schoolkeeper-session.desktop"),
            ("schoolkeeper-session@.service", "lib/systemd/system/schoolkeeper-session@.service"),
            ("user-session.conf", "lib/systemd/system/user@.service.d/schoolkeeper.conf"),
            ("schoolkeeper-tell.desktop", "usr/share/applications/schoolkeeper-tell.desktop"),
            ("schoolkeeper-ceop.desktop", "usr/share/applications/schoolkeeper-ceop.desktop"),
            ("pam-config", "usr/share/pam-configs/schoolkeeper-agent"),
            ("schoolkeeper-encrypt.socket", "lib/systemd/system/schoolkeeper-encrypt.socket"),
            ("schoolkeeper-encrypt@.service", "lib/systemd/system/schoolkeeper-encrypt@.service"),
            ("schoolkeeper-guard.socket", "lib/systemd/system/schoolkeeper-guard.socket"),
            ("schoolkeeper-guard@.service", "lib/systemd/system/schoolkeeper-guard@.service"),
            ("99-schoolkeeper-media.rules", "usr/lib/udev/rules.d/99-schoolkeeper-media.rules"),
            ("schoolkeeper-isolation.service", "lib/systemd/system/schoolkeeper-isolation.service"),
            ("schoolkeeper-update.path", "lib/systemd/system/schoolkeeper-update.path"),
            ("schoolkeeper-update.service", "lib/systemd/system/schoolkeeper-update.service"),
        ),
        manuals=("schoolkeeper-agent.8",),
    ),
    "collector": Package(
        name="schoolkeeper-collector",
        folder="collector",
        members=("proto", "policies", "collector"),
        requirements="collector.txt",
        programs=(
            ("usr/bin/schoolkeeper-collector", "schoolkeeper_collector.cli"),
            ("usr/bin/schoolkeeper-verify", "schoolkeeper_proto.verify"),
        ),
        manuals=("schoolkeeper-collector.8", "schoolkeeper-verify.1"),
    ),
    "officer": Package(
        name="schoolkeeper-officer",
        folder="officer",
        members=("proto", "policies"),
        requirements="officer.txt",
        programs=(
            ("usr/bin/schoolkeeper-officer", "schoolkeeper_policies.officer.cli"),
            ("usr/bin/schoolkeeper-policy", "schoolkeeper_policies.cli"),
        ),
        manuals=("schoolkeeper-officer.1", "schoolkeeper-policy.1"),
        service=False,
    ),
}
"""``make packages`` builds them all."""

DROPPED_FROM_LIBRARIES = (
    # Installers' own notes: they name paths and times of the machine that built the package.
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/uv_cache.json",
    # Never imported on a device.
    "bin",
    ".lock",
    "**/.gitignore",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.h",
    "**/__pycache__",
    "google/protobuf/testdata",
    "zstandard/_cffi*.so",
    "zstandard/backend_cffi.py",
    "psutil/tests",
    "securesystemslib/_vendor/*.sh",
)
KEPT_LOCALES = ("root", "en", "cy")
"""Of Babel's data for 1,100 locales the console speaks two languages."""
