"""`compile_tree.py [--short] FOLDER`: bytecode beside every module of FOLDER, the same bytes at every run.

A module that does not compile (a library's template, or code for another Python) is left as it is. With ``--short``
without docstrings, for a program that has its help elsewhere: 1 MiB less on every laptop (tests/bench/bench_memory.py).
Asserts stay, other than with ``python -OO``.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import marshal
import sys
from pathlib import Path

UNCHECKED = (0b01).to_bytes(4, "little")
"""PEP 552: valid by a hash of the source that is not looked at. dpkg replaces both together."""
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile every module below a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true", help="without docstrings")
    arguments = parser.parse_args()
    for path in sorted(arguments.folder.rglob("*.py")):
        shown_as = str(path.relative_to(arguments.folder))
        try:
            made = compiled(path.read_bytes(), shown_as, short=arguments.short)
        except (SyntaxError, ValueError) as error:
            print(f"  packages  not compiled: {shown_as}: {error}", file=sys.stderr)
            continue
        target = Path(importlib.util.cache_from_source(path))
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(made)
        target.chmod(0o644)
    return 0


def compiled(source: bytes, shown_as: str, *, short: bool) -> bytes:
    """What a ``.pyc`` holds. Raises ``SyntaxError`` or ``ValueError``."""
    tree = ast.parse(source, shown_as)
    if short:
        for node in ast.walk(tree):
            if isinstance(node, _Documented):
                _shorten(node)
    code = compile(tree, shown_as, "exec", dont_inherit=True, optimize=0)
    return importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


def _shorten(node: _Documented) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        del node.body[0]
    if isinstance(node, ast.ClassDef) and node.decorator_list:
        # Not none at all: `dataclass` would make one up, which costs more than the longest of ours. Only where it is
        # decorated: a class with a slot of the name `__doc__` (typing_extensions) may have none.
        node.body.insert(0, ast.Expr(ast.Constant(" ")))
    elif not node.body and not isinstance(node, ast.Module):
        node.body.append(ast.Pass())
    ast.fix_missing_locations(node)


if __name__ == "__main__":
    sys.exit(main())
