#!/usr/bin/env python3
"""Builds what the lab's tests use: `build.py tree` (the nspawn laptop), `build.py laptop` (the virtual laptop too),
`build.py images` (media that other systems encrypted), `build.py usbguard` (its parser of rules), `build.py windows`
(Windows' Python under Wine).

What is built already for the inputs of today is left as it is.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.lab.cache import LabError
from support.lab.encrypted_images import build_encrypted_images, encrypted_images
from support.lab.golden_state import build_golden_state, golden_state
from support.lab.tree import build_laptop_tree, laptop_tree
from support.lab.usbguard import build_usbguard, usbguard_folder
from support.lab.windows import build_windows, windows_folder

_FOLDERS = {
    "tree": laptop_tree,
    "laptop": golden_state,
    "images": encrypted_images,
    "usbguard": usbguard_folder,
    "windows": windows_folder,
}
_BUILDERS = {
    "tree": build_laptop_tree,
    "laptop": build_golden_state,
    "images": build_encrypted_images,
    "usbguard": build_usbguard,
    "windows": build_windows,
}
_TAKES = {
    "tree": "two minutes",
    "laptop": "two minutes",
    "images": "half a minute",
    "usbguard": "ten seconds",
    "windows": "half a minute",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=_BUILDERS)
    what = parser.parse_args().what
    started = time.monotonic()
    try:
        if not _FOLDERS[what]().is_built:
            print(f"  lab       building the {what}: about {_TAKES[what]}", flush=True)
        path = _BUILDERS[what]()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    print(f"  lab       {what}: {path} ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
