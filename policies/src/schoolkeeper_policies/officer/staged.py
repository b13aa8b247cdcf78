"""A staged change as it travels: a folder on the collector, or one file (``.skchange``) that an officer carries home.

Either holds the new signed metadata, what is in force, the chain of roots, the files that are new and those that they
replace. Nothing here is believed: ``review.py`` verifies it. The way back is small: ``Answer`` (``.sksigned``) holds
signatures and nothing else, so that whoever takes it can be given nothing else.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.replacing import replace_file
from schoolkeeper_proto import trust

SUFFIX = ".skchange"
ANSWER_SUFFIX = ".sksigned"
MAX_FILES = 2_000
MAX_BYTES = 64 << 20
MAX_ANSWER_BYTES = 64 << 10
_TARGETS, _IN_FORCE = "targets.json", "in-force.json"
_ROOT, _ROOT_IN_FORCE = "root.json", "root-in-force.json"
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_NAME = re.compile(
    rf"targets\.json|in-force\.json|root\.json|root-in-force\.json|roots/[1-9][0-9]{{0,4}}\.root\.json"
    rf"|(?:targets|before)/(?:{_PART}/)*{_PART}"
)
_STAMP = (1980, 1, 1, 0, 0, 0)


class StagedError(ValueError):
    """A folder or file that is no staged change; names it, what is wrong with it, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """``files``: everything by its path. Unverified."""

    files: dict[str, bytes]

    @property
    def targets(self) -> bytes:
        return self.files[_TARGETS]

    @property
    def in_force(self) -> bytes:
        return self.files[_IN_FORCE]

    @property
    def root(self) -> bytes:
        """The root that the change is to be judged by: the new one where one is staged."""
        return self.files[_ROOT]

    @property
    def has_new_root(self) -> bool:
        return _ROOT_IN_FORCE in self.files

    @property
    def roots(self) -> list[bytes]:
        """Roots 1, 2, ... as published, without a staged one."""
        names = [name for name in self.files if name.startswith("roots/")]
        return [self.files[f"roots/{number}.root.json"] for number in range(1, len(names) + 1)]

    def target(self, name: str, sha256: str) -> bytes | None:
        return self.files.get(f"targets/{trust.target_file_name(name, sha256)}")

    def before(self, name: str, sha256: str) -> bytes | None:
        """A file in force; one that does not change lies only once, among the targets."""
        path = trust.target_file_name(name, sha256)
        return self.files.get(f"before/{path}", self.files.get(f"targets/{path}"))

    def signed(self, *, targets: bytes | None = None, root: bytes | None = None) -> Staged:
        changed = {_TARGETS: targets, _ROOT: root}
        return replace(
            self, files=self.files | {name: data for name, data in changed.items() if data is not None}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Signatures over one staged change. ``targets_sha256``, ``root_sha256``: of what they sign, hexadecimal."""

    school_id: str
    version: int
    targets_sha256: str
    root_sha256: str
    targets_signatures: tuple[dict[str, str], ...] = ()
    root_signatures: tuple[dict[str, str], ...] = ()


def read_staged(path: Path) -> Staged:
    """A folder or a ``.skchange`` file. Raises ``StagedError``."""
    if path.is_dir():
        return read_folder(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StagedError(
            f"{path} cannot be read ({error.strerror}): name the folder that `schoolkeeper-collector stage` "
            f"printed, or the {SUFFIX} file from the console"
        ) from error
    return unpack(data, str(path))


def read_folder(folder: Path) -> Staged:
    """What lies in a staged folder; other files in it are passed over. Raises ``StagedError``."""
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(name):
            continue
        total += path.stat().st_size
        _within(len(files) + 1, total, str(folder))
        files[name] = path.read_bytes()
    return _complete(files, str(folder))


def write_signed(folder: Path, staged: Staged) -> None:
    """Puts signed metadata back into the folder it came from, each file replaced in one step."""
    for name in (_ROOT, _TARGETS):
        replace_file(folder / name, staged.files[name])


def pack(staged: Staged) -> bytes:
    """One file, the same bytes for the same change."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in sorted(staged.files.items()):
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    return out.getvalue()


def unpack(data: bytes, place: str) -> Staged:
    """The change in a file that anybody may have made: bounded, names checked. Raises ``StagedError``."""
    if len(data) > MAX_BYTES:
        raise StagedError(f"{place} is larger than {MAX_BYTES >> 20} MiB: it is no staged change")
    files: dict[str, bytes] = {}
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            for entry in file.infolist():
                if not _NAME.fullmatch(entry.filename) or entry.filename in files:
                    raise StagedError(
                        f"{place} holds {entry.filename[:100]!r}, as no staged change does: download it again"
                    )
                _within(len(files) + 1, total + entry.file_size, place)
                with file.open(entry) as part:
                    # What the header promises is not believed either.
                    content = part.read(MAX_BYTES - total + 1)
                total += len(content)
                _within(len(files) + 1, total, place)
                files[entry.filename] = content
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        wanted = f"a staged change ({SUFFIX}) or a school as it is in force (.skschool)"
        raise StagedError(
            wrong_kind(
                place,
                wanted,
                data,
                "take the file that the console or the collector wrote, or download it again",
            )
        ) from error
    return _complete(files, place)


def write_answer(answer: Answer) -> bytes:
    said = {
        "format": 1,
        "school_id": answer.school_id,
        "version": answer.version,
        "targets_sha256": answer.targets_sha256,
        "root_sha256": answer.root_sha256,
        "targets_signatures": list(answer.targets_signatures),
        "root_signatures": list(answer.root_signatures),
    }
    return json.dumps(said, indent=1, sort_keys=True).encode()


def read_answer(data: bytes, place: str) -> Answer:
    """Raises ``StagedError``."""
    if len(data) > MAX_ANSWER_BYTES:
        raise StagedError(
            f"{place} is larger than {MAX_ANSWER_BYTES >> 10} KiB: it is no {ANSWER_SUFFIX} file"
        )
    try:
        said = json.loads(data)
        if said["format"] != 1:
            raise ValueError(f"format {said['format']!r}")
        return Answer(
            school_id=str(said["school_id"]),
            version=int(said["version"]),
            targets_sha256=str(said["targets_sha256"]),
            root_sha256=str(said["root_sha256"]),
            targets_signatures=_signatures(said["targets_signatures"]),
            root_signatures=_signatures(said["root_signatures"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StagedError(
            wrong_kind(
                place,
                f"an officer's signatures ({ANSWER_SUFFIX})",
                data,
                "take the file that schoolkeeper-officer wrote",
            )
        ) from error


def signed_part_sha256(metadata: bytes) -> str:
    """Hash of what signatures of this metadata cover. Raises ``TrustRefused``."""
    return trust.sha256(trust.canonical_json(trust.signed_part(metadata))).hex()


def _signatures(value: object) -> tuple[dict[str, str], ...]:
    if not isinstance(value, list):
        raise TypeError("signatures are no list")
    return tuple({"keyid": str(entry["keyid"]), "sig": str(entry["sig"])} for entry in value[:64])


def _within(files: int, total: int, place: str) -> None:
    if files > MAX_FILES or total > MAX_BYTES:
        raise StagedError(
            f"{place} holds more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB: no staged change does"
        )


def _complete(files: dict[str, bytes], place: str) -> Staged:
    missing = [name for name in (_TARGETS, _IN_FORCE, _ROOT, "roots/1.root.json") if name not in files]
    numbers = {name for name in files if name.startswith("roots/")}
    if not missing and numbers != {f"roots/{n}.root.json" for n in range(1, len(numbers) + 1)}:
        missing.append("a root of the chain")
    if missing:
        raise StagedError(
            f"{place} lacks {', '.join(missing)}: stage anew with `schoolkeeper-collector stage`, or download it again"
        )
    return Staged(files=files)
