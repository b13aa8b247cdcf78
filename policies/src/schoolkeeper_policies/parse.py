"""Reads a pack: every file, every mistake with file, line, column, reason and remedy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from schoolkeeper_policies import model
from schoolkeeper_policies.categories import resolved
from schoolkeeper_policies.checking.names import File
from schoolkeeper_policies.checking.partly import lost_in_document, lost_in_text, sound_part
from schoolkeeper_policies.checks import check_overlaps, check_whole
from schoolkeeper_policies.filekinds import MAX_LOOKED_AT, looks_like
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.source import Source, read
from schoolkeeper_policies.validate import valid_parts, validate


def pack_names() -> list[str]:
    """The packs that come with the product."""
    root = resources.files("schoolkeeper_policies") / "packs"
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[:1].isalpha())


def pack_folder(name_or_path: str | Path) -> Path:
    """The folder of a shipped pack, or the given folder; raises ``PolicyError`` naming the shipped ones."""
    if isinstance(name_or_path, str) and name_or_path in pack_names():
        return Path(str(resources.files("schoolkeeper_policies") / "packs" / name_or_path))
    path = Path(name_or_path)
    if path.is_dir():
        return path.resolve()
    reason = "there is no such pack"
    if path.is_file():
        with path.open("rb") as file:
            reason = f"this is not a pack's folder; it looks like {looks_like(file.read(MAX_LOOKED_AT))}"
    raise PolicyError(
        [
            Problem(
                position=Position(file=str(name_or_path)),
                reason=reason,
                remedy=f"give a folder, or one of: {', '.join(pack_names())}",
            )
        ]
    )


def read_file(path: Path, root: Path) -> Source:
    """One YAML file of the pack in ``root``, named as the pack's reader would; raises ``PolicyError``."""
    name = str(path.relative_to(root.parent))
    try:
        return read(path.read_text(encoding="utf-8"), file=name)
    except UnicodeDecodeError as error:
        at = Position(file=name)
        problem = Problem(position=at, reason=f"not UTF-8 at byte {error.start}", remedy="save it as UTF-8")
        raise PolicyError([problem]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The files of a pack's folder. ``problems``: of each file by itself; ``digest``: of all.

    With mistakes a file is there with what is valid of it, to look for more of them, and for nothing else. ``lost``
    are the parts of the pack that could not be read whole.
    """

    files: list[File]
    problems: list[Problem]
    digest: bytes
    lost: frozenset[str]


def load_pack(name_or_path: str | Path) -> model.Pack:
    """The whole pack without its detection rules; raises ``PolicyError`` with every mistake in every file."""
    root = pack_folder(name_or_path)
    found = read_files(root)
    problems = {*found.problems, *check_whole(found.files, root.name, lost=found.lost)}
    if problems:
        raise PolicyError([*problems, *_dead_rules(found, problems, root.name)])
    pack = _merged([file for _, file in found.files], found.digest)
    if dead := list(check_overlaps(found.files, pack)):
        raise PolicyError(dead)
    return pack


def _dead_rules(found: Reading, problems: set[Problem], name: str) -> list[Problem]:
    """Rules that never decide in a pack with other mistakes, as far as they rest on nothing that is wrong."""
    doubts = problems | set(check_whole(found.files, name))
    sound = sound_part(found.files, doubts, found.lost)
    return list(check_overlaps(found.files, _merged(sound, found.digest))) if sound is not None else []


def read_files(root: Path) -> Reading:
    """Every file of a pack's folder, and the mistakes of each by itself."""
    digest = hashlib.sha256()
    problems: list[Problem] = []
    files: list[File] = []
    lost: set[str] = set()
    for path in _passed_over(root):
        at = Position(file=str(path.relative_to(root.parent)))
        reason = f"a file whose name ends in {path.suffix!r} is not read"
        remedy = f"call it {path.stem}.yaml, or put it elsewhere"
        problems.append(Problem(position=at, reason=reason, remedy=remedy))
        lost |= lost_in_text(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(root.glob("*.yaml")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        try:
            source = read_file(path, root)
        except PolicyError as error:
            problems.extend(error.problems)
            lost |= lost_in_text(path.read_text(encoding="utf-8", errors="replace"))
            continue
        try:
            files.append((source, validate(model.PackFile, source)))
        except PolicyError as error:
            problems.extend(error.problems)
            parts = valid_parts(model.PackFile, source)
            lost |= lost_in_document(source, parts[0] if parts is not None else None)
            if parts is not None:
                files.append(parts)
    return Reading(files=files, problems=problems, digest=digest.digest(), lost=frozenset(lost))


def _passed_over(root: Path) -> list[Path]:
    """Files that their author takes for a part of the pack, and that no reader of packs opens."""
    folders = [folder for folder in (root, root / "detection") if folder.is_dir()]
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix != ".yaml" and path.suffix.lower() in (".yml", ".yaml") and path.is_file()
    ]


def _merged(files: list[model.PackFile], source_hash: bytes) -> model.Pack:
    def single(name: str) -> object:
        return next((value for file in files if (value := getattr(file, name)) is not None), None)

    def gathered(name: str) -> tuple[object, ...]:
        return tuple(item for file in files for item in getattr(file, name))

    lists = (
        "groups",
        "applications",
        "media",
        "sites",
        "browser",
        "network",
        "peripherals",
        "matrices",
        "overrides",
        "grants",
        "posture",
        "assessments",
        "open_decisions",
        "tests",
    )
    singles = ("school", "people", "screen", "collection", "notice", "agreement")
    held: dict[str, object] = {
        **{name: single(name) for name in singles},
        **{name: gathered(name) for name in lists},
    }
    return model.Pack.model_validate(
        {"about": single("pack"), **held, "categories": resolved(files), "source_hash": source_hash}
    )
