"""What a file looks like when it is not what was wanted, in a person's words: so that a slip of the hand names itself.

Nothing is believed by it; whatever reads a file checks it. The names are those of the commands that write the files.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Final

from schoolkeeper_proto import policy, wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.wire import GrantKind

MAX_LOOKED_AT: Final = 8 << 20
NOTHING: Final = "nothing that this program knows"
_HEADS: Final = (
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF document"),
    (b"-----BEGIN CERTIFICATE", "a certificate"),
    (b"-----BEGIN SCHOOLKEEPER", "an officer's key file"),
    (b"-----BEGIN", "a key in PEM form"),
    (b"\x1f\x8b", "a compressed archive"),
)
_SIGNED: Final = {
    "root": "a school's root (root.json)",
    "targets": "signed targets",
    "snapshot": "a signed snapshot",
    "timestamp": "a signed timestamp",
}


def wrong_kind(place: str, wanted: str, data: bytes, remedy: str) -> str:
    """The sentence about a file that is not what a command reads."""
    found = looks_like(data)
    if found.partition(" (")[0] == wanted.partition(" (")[0]:
        return f"{place} is {wanted}, and damaged: {remedy}"
    return f"{place} is not {wanted}; it looks like {found}: {remedy}"


def looks_like(data: bytes) -> str:
    """With its article, ready to stand in a sentence."""
    if not data:
        return "an empty file"
    for head, name in _HEADS:
        if data.startswith(head):
            return name
    if data.startswith(b"PK"):
        return _archive(data)
    if len(data) > MAX_LOOKED_AT:
        return NOTHING
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _message(data) or NOTHING
    return _message(data) or _text(text)


def _archive(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = set(file.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged archive"
    if "roots/1.root.json" not in names or "targets.json" not in names:
        return "a ZIP archive, or a document of an office program"
    return "a staged change (.skchange) or a school as it is in force (.skschool)"


def _message(data: bytes) -> str:
    """Our own compiled files; protobuf reads almost anything as almost anything, so only what makes sense counts."""
    try:
        manifest = decode(policy.BundleManifest, decode(policy.PolicyBundle, data).manifest)
        if manifest.school_id and manifest.group and manifest.format:
            return f"a compiled policy (bundle) of the group {manifest.group}"
    except WireFormatError:
        pass
    try:
        grant = decode(wire.GrantStatement, decode(wire.Grant, data).statement)
        if grant.school_id and grant.kind is not GrantKind.UNSPECIFIED and len(grant.grant_id) == 16:
            return f"a grant (.skgrant) of the kind {grant.kind}"
    except WireFormatError:
        pass
    return ""


def _text(text: str) -> str:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        first = text.lstrip().partition("\n")[0]
        if first.startswith("<"):
            return "a web page or XML"
        if first.startswith("{"):
            return "JSON lines, one object each" if _is_json(first) else "damaged JSON"
        return "a CSV table" if first.count(",") > 1 and ": " not in first else "plain text or YAML"
    return _json(said)


def _json(said: object) -> str:
    if not isinstance(said, dict):
        return "a JSON file of another kind"
    signed = said.get("signed")
    if isinstance(signed, dict) and "signatures" in said:
        return _SIGNED.get(str(signed.get("_type")), "signed metadata of another kind")
    if "targets_signatures" in said:
        return "an officer's signatures (.sksigned)"
    if "signing_key" in said:
        return "the public part of somebody's keys"
    if "changes" in said and "groups" in said:
        return "a plan that was written with --json"
    if "override" in said:
        return "a sealed reason"
    return "a JSON file of another kind"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
