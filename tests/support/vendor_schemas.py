"""Schemas that makers publish and that a package carries, as JSON Schema (draft 7) for `fastjsonschema`.

Both are closed here: a name that the maker does not know is a fault, as it is for the maker's own program.
"""

from __future__ import annotations

import json
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from support.lab.available import need

FIREFOX = Path("/usr/lib/firefox-esr/firefox-esr")
_FIREFOX_ARCHIVE = FIREFOX.parent / "browser/omni.ja"
_WHERE = "makers' schemas are missing: make test installs them"

Schema = dict[str, Any]


def checker(schema: Schema) -> Any:
    """A function that raises ``fastjsonschema.JsonSchemaValueException`` for what does not fit."""
    fast = pytest.importorskip("fastjsonschema", reason=_WHERE)
    # Mozilla's own format is a URL that its own code reads; the live test shows whether Firefox takes ours.
    return fast.compile(schema, formats={"moz-url": r"^[a-z]+:"})


def firefox() -> Schema:
    """``policies-schema.json`` of the installed Firefox ESR: what its policy engine checks against."""
    need(tools=("firefox-esr",))
    with zipfile.ZipFile(_FIREFOX_ARCHIVE) as archive:
        found = json.loads(archive.read("modules/policies/policies-schema.json"))
    closed: Schema = _closed(found)
    return closed


def android() -> tuple[Schema, frozenset[str]]:
    """A policy of the Android Management API, from Google's discovery document, and what is deprecated in it.

    Form of the document: https://developers.google.com/discovery/v1/type-format (64-bit numbers are strings there).
    """
    pytest.importorskip("googleapiclient", reason=_WHERE)
    place = files("googleapiclient") / "discovery_cache/documents/androidmanagement.v1.json"
    schemas: Schema = json.loads(place.read_text())["schemas"]
    gone = {
        f"{name}.{key}"
        for name, schema in schemas.items()
        for key, value in schema.get("properties", {}).items()
        if value.get("deprecated")
    }
    definitions = {name: _from_discovery(schema) for name, schema in schemas.items()}
    return {"$ref": "#/definitions/Policy", "definitions": definitions}, frozenset(gone)


def _closed(schema: Any) -> Any:
    """The same, where an object with named properties takes no others."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        found["additionalProperties"] = False
    return found


def _from_discovery(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref']}"}
    kind = schema.get("type")
    if kind == "any":
        return {}
    found: Schema = {"type": kind}
    if "enum" in schema:
        found["enum"] = [word for word in schema["enum"] if not word.endswith("_UNSPECIFIED")]
    if schema.get("format") in ("int64", "uint64"):
        found["pattern"] = r"^-?[0-9]+$"
    if "items" in schema:
        found["items"] = _from_discovery(schema["items"])
    if kind == "object":
        extra = schema.get("additionalProperties")
        found["additionalProperties"] = _from_discovery(extra) if extra else False
        found["properties"] = {
            name: _from_discovery(value) for name, value in schema.get("properties", {}).items()
        }
    return found
