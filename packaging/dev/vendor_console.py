"""Take the console's web assets from their npm packages: `npm pack NAME@VERSION` in an empty folder, then run this.

    python packaging/dev/vendor_console.py FOLDER

FOLDER holds the .tgz files. From GOV.UK Frontend's compiled style sheet go the fonts (both @font-face rules; they are
licensed for gov.uk alone), the header and footer with crown, crest and logotype, and the source map's address.
"""

import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "collector/src/schoolkeeper_collector/console/static/vendor"
AXE = ROOT / "tests/data/axe"
NOT_OURS = re.compile(r"\.govuk-(header|footer|logo)|govuk-crest|^@font-face")
MIT = """The MIT License (MIT)

Copyright (c) 2017 Crown Copyright (Government Digital Service)

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def rules(css: str) -> Iterator[str]:
    """Split a style sheet into its top-level rules and statements, in order."""
    start = depth = 0
    for place, letter in enumerate(css):
        depth += (letter == "{") - (letter == "}")
        if depth == 0 and letter in "};":
            yield css[start : place + 1]
            start = place + 1


def without_brand(css: str) -> str:
    """Drop rules for what is not ours to use; keep a selector list's other selectors."""
    kept = []
    for rule in rules(css):
        head, brace, body = rule.strip().partition("{")
        if head.startswith(("@media", "@supports")):
            inner = without_brand(body[:-1])
            kept.append(f"{head}{{{inner}}}" if inner.strip() else "")
        elif not brace or head.startswith("@keyframes"):
            kept.append(rule)
        else:
            selectors = [selector for selector in head.split(",") if not NOT_OURS.search(selector)]
            kept.append(f"{','.join(selectors)}{{{body}" if selectors else "")
    return "".join(kept)


def style_sheet(css: str) -> str:
    """Return GOV.UK Frontend's style sheet without fonts, crown, crest and logo."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL).strip()
    css = without_brand(css).replace("GDS Transport,arial,sans-serif", "var(--sk-font)")
    for word in ("crest", "crown", "logo-dot", "GDS Transport", "@font-face", "url("):
        if word in css:
            around = css[max(0, css.index(word) - 80) : css.index(word) + 80]
            raise SystemExit(f"{word!r} is still in the style sheet; extend NOT_OURS: ...{around}...")
    return css + "\n"


def read(folder: Path, package: str, member: str) -> bytes:
    """Return one file of a packed npm package; raise SystemExit naming what is missing."""
    found = sorted(folder.glob(f"{package}-*.tgz"))
    if len(found) != 1:
        raise SystemExit(
            f"vendor_console: {folder} holds {len(found)} of {package}-*.tgz; run npm pack {package} there"
        )
    with tarfile.open(found[0]) as archive:
        data = archive.extractfile(f"package/{member}")
        assert data is not None
        return data.read()


def main() -> None:
    """Write the vendored files and their licences."""
    folder = Path(sys.argv[1])
    css = read(folder, "govuk-frontend", "dist/govuk/govuk-frontend.min.css").decode()
    VENDOR.mkdir(parents=True, exist_ok=True)
    AXE.mkdir(parents=True, exist_ok=True)
    (VENDOR / "govuk-frontend.css").write_text(style_sheet(css), encoding="utf-8")
    (VENDOR / "govuk-frontend.LICENSE.txt").write_text(MIT, encoding="utf-8")
    script = read(folder, "htmx.org", "dist/htmx.min.js").decode()
    script = re.sub(r"\n//# sourceMappingURL=.*", "", script)
    (VENDOR / "htmx.js").write_text(script, encoding="utf-8")
    (VENDOR / "htmx.LICENSE.txt").write_bytes(read(folder, "htmx.org", "LICENSE"))
    (AXE / "axe.min.js").write_bytes(read(folder, "axe-core", "axe.min.js"))
    (AXE / "LICENSE").write_bytes(read(folder, "axe-core", "LICENSE"))


if __name__ == "__main__":
    main()
