"""Coverage-guided fuzzing of every listed parser in turn: the first byte picks the parser, the rest is its input.

Run by `make fuzz`, or `python tests/fuzz/fuzz_parsers.py -max_total_time=60 CORPUS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports():
    from support.fuzz.targets import proto_targets

TARGETS = proto_targets()


def one_input(data: bytes) -> None:
    if data:
        TARGETS[data[0] % len(TARGETS)].survives(data[1:])


def write_seeds(corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for index, target in enumerate(TARGETS):
        for number, seed in enumerate(target.seeds):
            (corpus / f"seed-{target.name}-{number}").write_bytes(bytes([index]) + seed)


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders:
        write_seeds(folders[0])
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
