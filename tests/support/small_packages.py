"""A dpkg with a root of its own, and packages of the agent's name with one file in them: quick and real."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "schoolkeeper-agent"
CONTROL = """Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: T <t@t.invalid>
Installed-Size: 4
Description: a test
 of two lines
"""


def unable() -> str:
    """Why packages cannot be installed here; empty when they can."""
    if shutil.which("dpkg-deb") is None:
        return "there is no dpkg here"
    return "" if os.geteuid() == 0 else "only root installs packages"


@dataclass(frozen=True, slots=True)
class SmallDpkg:
    """``folder``: new, for all of it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    @property
    def variables(self) -> dict[str, str]:
        """What dpkg and what starts it need to stay within the root; scripts run outside of it."""
        return {"DPKG_ROOT": str(self.root), "DPKG_FORCE": "script-chrootless"}

    @property
    def agent(self) -> str:
        """What the installed package's one file holds; empty for none."""
        place = self.root / "usr/agent"
        return place.read_text() if place.exists() else ""

    def make(self) -> SmallDpkg:
        for name in ("info", "updates"):
            (self.root / "var/lib/dpkg" / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        return self

    def build(
        self,
        version: str,
        *,
        postinst: str = "",
        architecture: str = "all",
        conffile: str = "",
        files: Mapping[str, str] | None = None,
    ) -> Path:
        tree = self.folder / f"tree-{version}"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr").mkdir()
        (tree / "usr/agent").write_text(version)
        (tree / "usr/link").symlink_to("agent")
        for name, content in (files or {}).items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(content)
        (tree / "DEBIAN/control").write_text(
            CONTROL.format(name=NAME, version=version, architecture=architecture)
        )
        if postinst:
            (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{postinst}\n")
            (tree / "DEBIAN/postinst").chmod(0o755)
        if conffile:
            (tree / "etc").mkdir()
            (tree / "etc/agent.toml").write_text(conffile)
            (tree / "DEBIAN/conffiles").write_text("/etc/agent.toml\n")
        built = self.folder / f"{version}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, built], check=True, capture_output=True)
        return built

    def install(self, package: Path) -> None:
        subprocess.run(
            ["dpkg", "--force-downgrade", "--install", package],
            check=True,
            capture_output=True,
            env=self.environment,
        )

    def status(self) -> str:
        asked = ["dpkg-query", "--showformat", "${db:Status-Status} ${Version}", "--show", NAME]
        return subprocess.run(asked, capture_output=True, text=True, env=self.environment, check=False).stdout
