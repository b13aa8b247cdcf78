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
