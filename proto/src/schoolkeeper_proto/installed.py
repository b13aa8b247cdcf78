"""Which version of a distribution is installed here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def version_of(distribution: str) -> str:
    """From the name of the installed metadata's folder: importlib.metadata would cost the agent 2 MiB."""
    name = distribution.replace("-", "_")
    for folder in sys.path:
        for found in Path(folder or ".").glob(f"{name}-*.dist-info"):
            return found.name.removesuffix(".dist-info").partition("-")[2]
    return "unknown"


class VersionAction(argparse.Action):
    """``--version``: looks it up only when somebody asks. ``const`` names the distribution."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: str) -> None:
        super().__init__(option_strings, dest, nargs=0, const=const, help="print the version and end")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {version_of(self.const)}")
        parser.exit()
