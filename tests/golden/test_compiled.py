"""What each part of the language compiles to, as plain values: a change of it is seen and meant, or a mistake."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from schoolkeeper_policies.reference import REFERENCE_FILE, SCHEMA_FILE, reference, schema

REMEDY = "if the change is meant: python tests/golden/make_compiled.py, and read the difference"
DOCUMENTS = Path(__file__).resolve().parents[2] / "policies" / "docs"


def _maker() -> ModuleType:
    path = Path(__file__).with_name("make_compiled.py")
    spec = importlib.util.spec_from_file_location("make_compiled", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_compiled"] = module
    spec.loader.exec_module(module)
    return module


MAKER = _maker()


def test_every_part_of_the_language_compiles_to_what_it_did() -> None:
    assert MAKER.document() == MAKER.FILE.read_text(), REMEDY


def test_the_same_pack_gives_the_same_bytes() -> None:
    assert MAKER.bundle("ks1") == MAKER.bundle("ks1")


def test_the_documents_say_what_the_model_says() -> None:
    assert (DOCUMENTS / SCHEMA_FILE).read_text() == schema(), "run `make generate`"
    assert (DOCUMENTS / REFERENCE_FILE).read_text() == reference(), "run `make generate`"
