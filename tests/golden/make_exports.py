"""Writes ``targets/``: the exports of one fixed policy. Run it after a change that is meant, and read the difference.

python tests/golden/make_exports.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.targets.common import Platform, Policy
from schoolkeeper_policies.targets.coverage import as_markdown, table
from schoolkeeper_policies.targets.exporters import export, group_policy, write
from support.exports import rich_policy

FOLDER = Path(__file__).parent / "targets"
DOCUMENT = Path(__file__).resolve().parents[2] / "policies" / "docs" / "coverage.md"
_HEAD = """# Which platform does what with each rule

Made from the pack `default` (group {group}) by `python tests/golden/make_exports.py`; for a school's own policy:
`schoolkeeper-policy coverage FOLDER`, or the console. *Exported, not verified by us*: a device management carries our
files, and nobody here looks whether a device obeys. *Nothing*: no agent of ours runs there, and no setting is exported.

## What the files were checked against

By tests, at every run: the schema that the maker publishes, where a package of Debian, PyPI or npm carries it.

- **Firefox**, on every platform: Mozilla's `policies-schema.json`, which Debian's `firefox-esr` carries; and a real
  Firefox, whose `about:policies` shows each policy and no error.
- **Chromium on Linux**: a real Chromium, whose `chrome://policy` says OK to each policy. No package carries the list.
- **Android**: the form `Policy` of Google's Android Management API, which PyPI's `google-api-python-client` carries;
  no field that Google calls deprecated.
- **dconf**: a real GSettings, in which each key is set and locked.
- **USBGuard**: its own parser of rules, of Debian's `usbguard`, which reads each and gives it back unchanged.

Not checked against a maker's schema, because no package was found that carries one (PyPI, npm and Debian 12 were
looked through); the form is read back by rules that we wrote from the makers' references:

- **macOS and iPadOS profiles.** Apple publishes its schema as YAML in the repository `apple/device-management`. The
  payloads for lock, passcode and web filter were read against it by eye. `com.apple.MCX` and `com.apple.MCXBluetooth`
  have keys that Apple does not describe there, though security baselines for macOS use them.
- **Windows.** AppLocker's schema, the ADMX files and the CSPs' DDF files are parts of Windows or lie on Microsoft's
  site. PyPI's `applocker` reads and writes such rules and carries no schema; modules with more are PowerShell's.
- **ChromeOS and Edge** policies that Chromium on Linux does not have.
- **Santa.** No schema is published; it reads rules on macOS alone.

## Rule by rule

"""


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    held = rich_policy()
    exports = export(held, Platform)
    write(exports, FOLDER)
    (FOLDER / "coverage.md").write_text(shown(held))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document())


def shown(held: Policy) -> str:
    return as_markdown(table(held, export(held, Platform)), [platform.value for platform in Platform])


def document() -> str:
    """What the documentation says: of the pack that comes along, for its first group."""
    group = load_pack("default").groups[0].name
    return _HEAD.format(group=group) + shown(group_policy("default", school="school", group=group))


if __name__ == "__main__":
    main()
