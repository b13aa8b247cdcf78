"""``schoolkeeper-verify``: checks the proof of an event offline. No database, no network, nothing to trust but a key.

Exit codes: 0 every step holds, 1 a step fails, 2 a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from schoolkeeper_proto import checkpoint, model, proof
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.installed import VersionAction


class UnreadableError(Exception):
    """A file or key that cannot be used; names it and says what would be right."""


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        keys = [_ledger_key(text) for text in arguments.ledger_key]
        found = _read(Path(arguments.proof))
    except (UnreadableError, proof.ProofError) as error:
        sys.stderr.write(f"schoolkeeper-verify: {error}\n")
        return 2
    steps = proof.check(found, keys)
    for step in steps:
        sys.stdout.write(f"{'holds' if step.holds else 'FAILS'}  {step.name}: {step.detail}\n")
    if not proof.holds(steps):
        sys.stdout.write("This proof is not good.\n")
        return 1
    sys.stdout.write(f"The event is in the log: {_describe(found.event)}\n")
    sys.stdout.write("That others saw the same log needs a witness: compare the checkpoint with theirs.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="schoolkeeper-verify", description=__doc__)
    parser.add_argument("--version", action=VersionAction, const="schoolkeeper-proto")
    parser.add_argument("proof", help="proof file, as 'schoolkeeper-collector export-proof' writes it")
    parser.add_argument(
        "--ledger-key",
        action="append",
        required=True,
        metavar="KEY",
        help="the school's ledger key in C2SP form (name+id+base64), or a file that holds it; may be repeated. "
        "Take it from the school's signed key statement, not from whoever gave you the proof",
    )
    return parser


def _ledger_key(text: str) -> bytes:
    try:
        path = Path(text)
        value = path.read_text(encoding="utf-8") if path.is_file() else text
        return checkpoint.parse_verifier_key(value)[1]
    except (checkpoint.CheckpointError, OSError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"--ledger-key: {error}; it looks like school.example/ledger/1+0123abcd+AbC…"
        ) from error


def _read(path: Path) -> proof.EventProof:
    try:
        return proof.EventProof.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: {error}") from error


def _describe(event: bytes) -> str:
    try:
        found = decode(model.Event, event)
    except WireFormatError as error:
        return f"(its bytes are no event this program knows: {error})"
    return f"{found.body.KIND} at {found.wall_unix_ms} ms Unix time by the device's clock"


if __name__ == "__main__":
    sys.exit(main())
