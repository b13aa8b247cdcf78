"""Coverage-guided fuzzing of the registers' parsers: the first byte picks the parser, the rest is its input.

Run by `make fuzz`, or `python tests/fuzz/fuzz_registers.py -max_total_time=60 CORPUS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports():
    from support.fuzz.register_targets import register_targets

TARGETS = register_targets()


def one_input(data: bytes) -> None:
    if data:
        TARGETS[data[0] % len(TARGETS)].survives(data[1:])


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders:
        folders[0].mkdir(parents=True, exist_ok=True)
        for index, target in enumerate(TARGETS):
            for number, seed in enumerate(target.seeds):
                (folders[0] / f"seed-{target.name}-{number}").write_bytes(bytes([index]) + seed)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
