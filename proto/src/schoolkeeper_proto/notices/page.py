"""What is read, before it is text or a page: headings, lines, and lines to fill in by hand. Pure."""

from __future__ import annotations

import html
from dataclasses import dataclass

_STYLE = (
    "body{font:1.1rem/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#0b0c0c;background:#fff}"
    "h1,h2{line-height:1.2}li{margin:.4rem 0}.more{color:#3d4245}.urgent{border:.2rem solid;padding:.6rem 1rem}"
    "@media print{body{max-width:none;margin:0}h2{break-after:avoid}li{break-inside:avoid}}"
)
_LARGE_STYLE = "body{font-size:1.5rem}"
_SIGN_STYLE = ".sign{margin:1.6rem 0;border-bottom:1px solid;break-inside:avoid}"
_LINE = "_" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line, and what is said below it."""

    heading: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``symbol`` stands before the heading for who does not read yet (W-114); empty at the other levels."""

    heading: str
    items: tuple[Item, ...]
    symbol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """``urgent`` is help, before everything else; ``fill_in`` names lines to write on; ``sources`` end it.

    ``large``: in big letters, for the youngest.
    """

    language: str
    title: str
    introduction: str
    urgent: str
    parts: tuple[Part, ...]
    fill_in: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    large: bool = False


def as_text(document: Document) -> str:
    """For a terminal."""
    lines = [document.title, "", document.introduction, "", document.urgent, ""]
    for part in document.parts:
        lines += [f"{part.symbol} {part.heading}".strip(), ""]
        for item in part.items:
            lines.append(f"  * {item.heading}")
            lines += [f"    {line}" for line in item.lines]
        lines.append("")
    for label in document.fill_in:
        lines += [f"{label}: {_LINE}", ""]
    return "\n".join((*lines, *document.sources)) + "\n"


def as_page(document: Document) -> str:
    """One HTML page without script or address: for a browser, and to be printed."""
    title = html.escape(document.title)
    style = _STYLE + (_LARGE_STYLE if document.large else "") + (_SIGN_STYLE if document.fill_in else "")
    page = [
        f'<!doctype html>\n<html lang="{document.language}">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        f"<p>{html.escape(document.introduction)}</p>\n",
        f'<p class="urgent">{html.escape(document.urgent)}</p>\n',
    ]
    for part in document.parts:
        # Whoever has the page read aloud hears the heading alone.
        symbol = f'<span aria-hidden="true">{part.symbol}</span> ' if part.symbol else ""
        page.append(f"<h2>{symbol}{html.escape(part.heading)}</h2>\n<ul>\n")
        page += [_item(item) for item in part.items]
        page.append("</ul>\n")
    page += [f'<p class="sign">{html.escape(label)}:</p>\n' for label in document.fill_in]
    page += [f'<p class="more">{html.escape(line)}</p>\n' for line in document.sources]
    page.append("</main>\n</body>\n</html>\n")
    return "".join(page)


def _item(item: Item) -> str:
    below = "".join(f'<br><span class="more">{html.escape(line)}</span>' for line in item.lines)
    return f"<li>{html.escape(item.heading)}{below}</li>\n"
