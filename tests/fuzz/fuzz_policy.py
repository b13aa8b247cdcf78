"""Fuzzes what reads a school's own files: YAML, pack files, registers, detection rules, patterns.

Run by `make fuzz`, or `python tests/fuzz/fuzz_policy.py -max_total_time=60 CORPUS`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["schoolkeeper_policies"]):
    from schoolkeeper_policies.detection.load import rules_of_texts
    from schoolkeeper_policies.model import PackFile, Register
    from schoolkeeper_policies.problems import PolicyError
    from schoolkeeper_policies.registers import parse_register
    from schoolkeeper_policies.sigma.regex import Pattern, PatternRefused
    from schoolkeeper_policies.source import read, read_all
    from schoolkeeper_policies.validate import validate


def one_input(data: bytes) -> None:
    """A refusal with a place is the only way to fail."""
    text = data[1:].decode("utf-8", "replace")
    match data[:1]:
        case b"p":
            pattern, _, subject = text.partition("\0")
            with contextlib.suppress(PatternRefused):
                Pattern(pattern).search(subject)
        case b"y":
            with contextlib.suppress(PolicyError):
                read_all(text, file="f.yaml")
        case b"f":
            with contextlib.suppress(PolicyError):
                validate(PackFile, read(text, file="f.yaml"))
        case b"r":
            with contextlib.suppress(PolicyError):
                parse_register(text, Register(file="r.csv"), file="r.csv")
        case _:
            with contextlib.suppress(PolicyError):
                rules_of_texts({"f.yaml": text})


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
