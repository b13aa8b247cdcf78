"""Writes compiled.json: what `school/pack` compiles to for two groups. `python tests/golden/make_compiled.py`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_proto.bundle import open_bundle

FOLDER = Path(__file__).with_name("school") / "pack"
FILE = Path(__file__).with_name("compiled.json")
GROUPS = ("ks1", "staff")
KEY = bytes(range(32))
COMPILED_AT_MS = 1_795_428_000_000


def bundle(group: str) -> bytes:
    return compile_pack(
        FOLDER,
        school_id="golden.example",
        group=group,
        version=7,
        compiled_at_unix_ms=COMPILED_AT_MS,
        pseudonym_key=KEY,
    )


def document() -> str:
    """Every section in plain values, without hashes of the whole."""
    held = {}
    for group in GROUPS:
        opened = open_bundle(
            bundle(group), school_id="golden.example", group=group, capabilities=frozenset({"people/1"})
        )
        values = _plain(dataclasses.asdict(opened))
        del values["hash"]
        for name in ("source_hash", "sections"):
            del values["manifest"][name]
        held[group] = values
    return json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dict():
            # What is empty is left out: a new field does not change what was said before.
            return {
                key: _plain(item)
                for key, item in value.items()
                if item not in ((), [], "", b"", None, 0, False)
            }
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


if __name__ == "__main__":
    FILE.write_text(document())
