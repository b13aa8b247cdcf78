"""The bytecode that packages carry: sound, the same at every run, and short where it is asked to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "packaging/linux/compile_tree.py"
SOURCE = '''"""Of the module."""
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Point:
    """Of the class."""
    across: int

class Bare(Exception):
    """Nothing but this."""

class Slotted:
    __slots__ = ("__doc__",)

def checked(value: int) -> int:
    """Of the function."""
    assert value > 0, "asserts stay"
    return value

def empty() -> None:
    """Nothing but this."""

text = "\\u00e9"
"""Not a docstring, and no code either."""
'''
LOOK = (
    "import module as m; print([m.__doc__, m.checked.__doc__, m.Bare.__doc__, m.Point.__doc__], m.__cached__,"
    " m.Point(3), m.empty(), m.text)\ntry:\n m.checked(0)\nexcept AssertionError as error:\n print(error)"
)


def compiled(folder: Path, *how: str) -> bytes:
    (folder / "module.py").write_text(SOURCE, encoding="utf-8")
    (folder / "template.py").write_text("this is {{ no }} Python\n")
    done = subprocess.run(
        [sys.executable, "-I", str(TOOL), *how, str(folder)], capture_output=True, text=True, check=True
    )
    assert "template.py" in done.stderr, "what does not compile is named, and left"
    assert not list(folder.glob("__pycache__/template*"))
    return next(folder.glob("__pycache__/module*")).read_bytes()


def seen(folder: Path) -> list[str]:
    """What the module says of itself when it is loaded from its bytecode: its source says something else by then."""
    (folder / "module.py").write_text("raise SystemExit('the source was read')\n")
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_short_has_no_docstrings_and_keeps_asserts(tmp_path: Path) -> None:
    compiled(tmp_path, "--short")
    said = seen(tmp_path)
    assert said[0].startswith("[None, None, None, ' '] ")
    assert "Point(across=3) None é" in said[0]
    assert said[1] == "asserts stay"


def test_otherwise_everything_is_there(tmp_path: Path) -> None:
    compiled(tmp_path)
    said = seen(tmp_path)
    assert said[0].startswith("['Of the module.', 'Of the function.', 'Nothing but this.', 'Of the class.']")
    assert said[1] == "asserts stay"


@pytest.mark.parametrize("how", [(), ("--short",)])
def test_the_same_bytes_at_every_run(tmp_path: Path, how: tuple[str, ...]) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert compiled(tmp_path / "one", *how) == compiled(tmp_path / "two", *how)
