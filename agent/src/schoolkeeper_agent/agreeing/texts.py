"""The texts of the policy in force, written beside the notice where everybody can read them, and read from there.

Written by the short-lived process that writes the notice: the service itself never loads their words. ``INDEX`` tells
it which versions there are, and of which policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_agent.agreeing.deciding import Asked
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.notices.bands import Band, name_of

INDEX = "agreements.json"
_MOST_BYTES = 1 << 20


class NoText(Exception):
    """The text is not there, or is not what this program reads; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``symbol`` stands before the heading for who does not read yet; ``items``: a line, and what stands below it."""

    heading: str
    symbol: str
    items: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One agreement in one language. ``large``: in big letters."""

    version: str
    language: str
    title: str
    introduction: str
    large: bool
    parts: tuple[Part, ...]
    sources: tuple[str, ...]


def written(bundle: OpenBundle) -> dict[str, str]:
    """File name -> content; only the index where nobody is asked."""
    bands: dict[str, Any] = {}
    files: dict[str, str] = {}
    if bundle.agreement is not None:
        from schoolkeeper_proto.notices.agreement import agreement_of
        from schoolkeeper_proto.notices.words import Language

        for band in (Band(name) for name in bundle.agreement.bands if name in set(Band)):
            made = {language: agreement_of(bundle, band, language) for language in Language}
            bands[band.value] = {
                "version": made[Language.ENGLISH].version,
                "texts": {language.value: one.text_sha256.hex() for language, one in made.items()},
            }
            for language, one in made.items():
                files[f"{name_of(band, language)}.json"] = json.dumps(
                    {"version": one.version} | _plain(one.page), ensure_ascii=False
                )
    # Last: whoever finds a version in it finds its text.
    return files | {INDEX: json.dumps({"bundle": bundle.hash.hex(), "bands": bands})}


def _plain(document: Any) -> dict[str, Any]:
    """A ``page.Document`` without what stands in the window anyway (999 and Childline) and lines for a pen."""
    return {
        "language": str(document.language),
        "title": document.title,
        "introduction": document.introduction,
        "large": document.large,
        "parts": [
            {
                "heading": part.heading,
                "symbol": part.symbol,
                "items": [[item.heading, list(item.lines)] for item in part.items],
            }
            for part in document.parts
        ],
        "sources": list(document.sources),
    }


def read_index(folder: Path, bundle: OpenBundle) -> Mapping[str, Asked]:
    """Band -> what is asked of it under this policy. Raises ``NoText`` while that of another policy lies there."""
    section = bundle.agreement
    if section is None:
        return {}
    found = _read(folder / INDEX)
    try:
        if found["bundle"] != bundle.hash.hex():
            raise NoText("the texts of the policy in force are not written yet")
        return {
            band: Asked(
                document=section.document,
                version=str(one["version"]),
                band=band,
                by_adult=band in section.adult_accepts,
                texts=tuple((language, bytes.fromhex(digest)) for language, digest in one["texts"].items()),
                again_after_days=section.again_after_days,
            )
            for band, one in found["bands"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoText(f"{folder / INDEX} cannot be read: {error!r}") from error


def read_text(folder: Path, band: str, language: str, version: str) -> Text:
    """Raises ``NoText``, too, for the text of another version."""
    try:
        path = folder / f"{name_of(Band(band), language)}.json"
        found = _read(path)
        text = Text(
            version=str(found["version"]),
            language=str(found["language"]),
            title=str(found["title"]),
            introduction=str(found["introduction"]),
            large=bool(found["large"]),
            parts=tuple(
                Part(
                    heading=str(part["heading"]),
                    symbol=str(part["symbol"]),
                    items=tuple(
                        (str(line), tuple(str(more) for more in below)) for line, below in part["items"]
                    ),
                )
                for part in found["parts"]
            ),
            sources=tuple(str(line) for line in found["sources"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NoText(f"the text for {band} cannot be read: {error!r}") from error
    if text.version != version:
        raise NoText("the rules have just changed")
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise NoText(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise NoText(f"{path} is no text of ours")
    return found
