"""The policy pack in force: its rules and calendar are the detection's, its remedies are shown by the console.

Bundles go to devices; the collector needs the pack itself. A folder that a person named may be gone tomorrow, so its
files are copied under ``state_dir/policy``; the one line of ``policy/current`` says which pack holds. A school made
before that file existed keeps the pack ``default``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.ruleset import RuleSet
from schoolkeeper_policies.model import Pack
from schoolkeeper_policies.parse import load_pack, pack_folder, pack_names
from schoolkeeper_policies.problems import PolicyError, Position, Problem

DEFAULT = "default"
_SHIPPED = "shipped"
_COPIED = "copied"
_STAGED = "pack"


class PackInForceError(Exception):
    """``policy/current`` says something that is not there; names the file and the remedy."""


def pack_in_force(state_dir: Path) -> str | Path:
    """What ``load_pack`` takes: a shipped pack's name, or the folder of the copy. Raises ``PackInForceError``."""
    current = SchoolPaths(state_dir).policy / "current"
    try:
        source, _, name = current.read_text().strip().partition(" ")
    except FileNotFoundError:
        return DEFAULT
    if source == _SHIPPED and name in pack_names():
        return name
    folder = current.parent / name
    if source == _COPIED and name and "/" not in name and folder.is_dir():
        return folder
    raise PackInForceError(
        f"{current} names a pack that is not there ({source} {name}): restore {current.parent} from the backup, "
        "or stage and publish the pack anew with `schoolkeeper-collector stage --pack`"
    )


def rules_of(pack: str | Path) -> RuleSet:
    """The detection rules of a pack, the default pack's if it has none. Raises ``PolicyError``."""
    rules = load_rules(pack)
    return rules if rules.rules else load_rules(DEFAULT)


def put_in_force(state_dir: Path, pack: str | Path) -> None:
    """Copies a folder's pack and makes it the one in force, in one step. Raises ``PolicyError`` and changes nothing."""
    name_current(state_dir, keep(state_dir, pack))


def keep(state_dir: Path, pack: str | Path) -> str:
    """Checks a pack, copies it if it is a folder, and returns the line that ``name_current`` takes."""
    files = checked_files(pack)
    if files is None:
        return f"{_SHIPPED} {pack}"
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(data).digest())
    # Under a name of its own, so that a service that still reads the pack before keeps what it reads.
    name = f"{_name_of(pack)}-{digest.hexdigest()[:12]}"
    for path, data in files.items():
        write_file(SchoolPaths(state_dir).policy / name / path, data)
    return f"{_COPIED} {name}"


def name_current(state_dir: Path, line: str) -> None:
    write_file(SchoolPaths(state_dir).policy / "current", f"{line}\n".encode())


def stage_pack(staged: Path, pack: str | Path) -> None:
    """Lays a pack beside the targets that wait for signatures, as it is now. Raises ``PolicyError``."""
    files = checked_files(pack)
    if files is None:
        write_file(staged / _STAGED / "shipped", str(pack).encode())
        return
    for path, data in files.items():
        write_file(staged / _STAGED / _name_of(pack) / path, data)


def staged_pack(staged: Path) -> str | Path | None:
    """What ``stage_pack`` laid there; None if the staged change is of no pack."""
    shipped = staged / _STAGED / "shipped"
    if shipped.is_file():
        return shipped.read_text()
    return next((path for path in (staged / _STAGED).glob("*") if path.is_dir()), None)


def checked_files(pack: str | Path) -> dict[str, bytes] | None:
    """The files of a folder's pack by their path in it; None for a shipped pack. Raises ``PolicyError``."""
    loaded = load_pack(pack)
    rules_of(pack)
    if isinstance(pack, str) and pack in pack_names():
        return None
    folder = pack_folder(pack)
    _check_other(folder, loaded)
    paths = (*folder.glob("*.yaml"), *(folder / "detection").glob("*.yaml"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _name_of(pack: str | Path) -> str:
    """The folder's own name, also when the folder is a copy of ours."""
    return re.sub(r"-[0-9a-f]{12}$", "", pack_folder(pack).name)


def _check_other(folder: Path, pack: Pack) -> None:
    """The copy must not lean on a folder that only this moment's working directory leads to."""
    other = pack.about.detection_from
    if other and other not in pack_names():
        raise PolicyError(
            [
                Problem(
                    position=Position(file=str(folder)),
                    reason=f"'detection_from' names {other!r}, which does not come with the product",
                    remedy=f"copy its detection/ folder into this pack, or name one of: {', '.join(pack_names())}",
                )
            ]
        )
