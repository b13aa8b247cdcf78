"""`compile_tree.py FOLDER INSTALLED`: bytecode beside every module of FOLDER, the same bytes at every run.

A module that does not compile (a library's template, or code for another Python) is left as it is.
"""

from __future__ import annotations

import py_compile
import sys
from pathlib import Path


def main() -> int:
    folder = Path(sys.argv[1])
    for path in sorted(folder.rglob("*.py")):
        try:
            py_compile.compile(
                str(path),
                dfile=str(path.relative_to(folder)),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            print(f"  packages  not compiled: {error.exc_value}", file=sys.stderr)
    for cached in folder.rglob("__pycache__"):
        cached.chmod(0o755)
        for path in cached.iterdir():
            path.chmod(0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main())
