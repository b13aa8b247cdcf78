"""House rules that no linter knows: what may be committed, and what every folder carries.

    python packaging/dev/hygiene.py

Looks at every file that git tracks or would add. Each finding names the file, the line and the remedy; exit 1 if any.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1_500_000  # bytes; a repository is cloned by everyone, for ever
LOCK_FILES = {
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
}
DESCRIBED_ELSEWHERE = (
    "tests/unit/",
    "tests/property/",
    "tests/golden/",
    "tests/contracts/",
)  # by tests/README.md
SOURCES = ("proto/", "policies/", "agent/", "collector/", "tests/", "packaging/")

# Put together from parts, so that this file passes its own check.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("static", "crates", "io"),
        ("proxy", "golang", "org"),
    )
]
MACHINE_PATHS = ["/" + part for part in ("work/", "root/.", "tmp/sk", "opt/pypi", "opt/wheels")]
INDEX_OPTIONS = re.compile(r"^\s*(--(extra-)?index-url|--find-links|-i|-f)\b|https?://")


def repository_files() -> list[Path]:
    """Return every tracked file and every new one that is not ignored, relative to the root."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return [Path(name) for name in names if name and (ROOT / name).is_file()]


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number the lines of a text file from one; a binary file has none."""
    data = (ROOT / path).read_bytes()
    if b"\0" not in data[:8192]:
        yield from enumerate(data.decode("utf-8", errors="replace").splitlines(), 1)


def no_registry_hosts(files: list[Path]) -> Iterator[str]:
    """A registry's address in a file ties a school to one mirror: versions and hashes are enough."""
    pattern = re.compile("|".join(re.escape(host) for host in REGISTRIES))
    for path in files:
        for number, text in lines(path):
            if found := pattern.search(text):
                yield f"{path}:{number}: names the registry {found[0]}; keep only version and hash"


def no_index_options(files: list[Path]) -> Iterator[str]:
    """Requirements name packages, never where to fetch them."""
    for path in files:
        if path.parent == Path("packaging/requirements") and path.suffix in {".in", ".txt"}:
            for number, text in lines(path):
                if INDEX_OPTIONS.search(text):
                    yield f"{path}:{number}: says where to fetch from; leave that to the machine's own configuration"


def no_machine_paths(files: list[Path]) -> Iterator[str]:
    """A path of one developer's machine works nowhere else."""
    pattern = re.compile(r"(?<![\w.}\-])(" + "|".join(re.escape(path) for path in MACHINE_PATHS) + ")")
    for path in files:
        for number, text in lines(path):
            if found := pattern.search(text):
                yield f"{path}:{number}: names the machine's own path {found[1]}; use one relative to the repository"


def no_lock_files(files: list[Path]) -> Iterator[str]:
    """Lock files carry registry addresses."""
    for path in files:
        if path.name in LOCK_FILES:
            yield f"{path}: lock files are not committed; hashes live in packaging/requirements/"


def no_stray_packages(files: list[Path]) -> Iterator[str]:
    """`packaging/__init__.py` would hide the library `packaging`; in tests it breaks --import-mode=importlib."""
    for path in files:
        if path.name == "__init__.py" and path.parts[0] in {"packaging", "tests"}:
            yield f"{path}: no __init__.py here; remove it"


def readme_in_every_code_folder(files: list[Path]) -> Iterator[str]:
    """A reader learns from each folder's README what lives there and who may import it."""
    present = set(files)
    folders = {path.parent for path in files if path.suffix == ".py" and str(path).startswith(SOURCES)}
    for folder in sorted(folders):
        if f"{folder}/".startswith(DESCRIBED_ELSEWHERE):
            continue
        top_package = folder.parent.name == "src"  # covered by the README of its distribution
        own = folder.parent.parent / "README.md" if top_package else folder / "README.md"
        if own not in present and folder / "README.md" not in present:
            yield f"{own}: missing; say in a few lines what lives here, what may import it, and the way data takes"


def no_large_files(files: list[Path]) -> Iterator[str]:
    """Large data is made by a script or fetched by the tests that need it."""
    for path in files:
        if (size := (ROOT / path).stat().st_size) > LARGEST:
            yield f"{path}: {size} bytes, more than {LARGEST}; generate it or make it smaller"


def requirements_compiled(files: list[Path]) -> Iterator[str]:
    """Every name in an .in file is pinned in the .txt beside it."""
    name = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")
    for path in files:
        if path.parent == Path("packaging/requirements") and path.suffix == ".in":
            compiled = path.with_suffix(".txt")
            pinned = {normal(text.split("==")[0]) for _, text in lines(compiled) if "==" in text}
            for number, text in lines(path):
                if (found := name.match(text)) and normal(found[1]) not in pinned:
                    yield f"{path}:{number}: {found[1]} is not in {compiled.name}; run `make requirements`"


def normal(name: str) -> str:
    """Spell a distribution's name the one way that the packaging standard compares."""
    return re.sub(r"[-_.]+", "-", name.split("[")[0].strip()).lower()


CHECKS: list[Callable[[list[Path]], Iterator[str]]] = [
    no_registry_hosts,
    no_index_options,
    no_machine_paths,
    no_lock_files,
    no_stray_packages,
    readme_in_every_code_folder,
    no_large_files,
    requirements_compiled,
]


def main() -> int:
    """Run every check over every file; return the exit status."""
    files = repository_files()
    found = [finding for check in CHECKS for finding in check(files)]
    for finding in found:
        print(finding, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
