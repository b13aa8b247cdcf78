"""Generate the protobuf code in proto/src and the documents of the policy language, or check what is committed.

    python packaging/dev/generate.py            write
    python packaging/dev/generate.py --check    compare; exit 1 and name each file that differs

A .proto file's path equals its import path, so `-Iproto/src` is the only include. The documents of the policy language
(policies/docs) are made in a process of their own, which loads the code that has just been generated.
"""

import filecmp
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "proto" / "src"
PACKAGE = Path("schoolkeeper_proto") / "v1"
DOCUMENTS = Path("policies") / "docs"
DESCRIBE = "import sys; from schoolkeeper_policies.reference import write; write(sys.argv[1])"
SERVICE = re.compile(r"^service ", re.MULTILINE)
"""Only a file that has one gets code for gRPC."""
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(target: Path) -> None:
    """Write the generated files of every .proto under `target`; leave by the compiler's own error otherwise."""
    protos = sorted(str(path.relative_to(SOURCE)) for path in (SOURCE / PACKAGE).glob("*.proto"))
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).parent}/protoc-gen-{name}"
        for name in ("mypy", "mypy_grpc")
    ]
    services = [path for path in protos if SERVICE.search((SOURCE / path).read_text())]
    for kinds, files in ((("python", "mypy"), protos), (("grpc_python", "mypy_grpc"), services)):
        outputs = [f"--{kind}_out={target}" for kind in kinds]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}", *plugins, *outputs, *files]
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"generate: the protobuf compiler refused proto/src:\n{done.stderr}")


def generated(folder: Path) -> set[str]:
    """Return the names of the generated files that lie in `folder`."""
    return {path.name for pattern in PATTERNS for path in folder.glob(pattern)}


def differences(fresh: Path, committed: Path) -> list[str]:
    """Name every generated file that is missing, stale or left over in `committed`."""
    wanted, held = generated(fresh), generated(committed)
    stale = [name for name in wanted & held if not filecmp.cmp(fresh / name, committed / name, shallow=False)]
    return sorted(
        [f"missing: {name}" for name in wanted - held]
        + [f"stale: {name}" for name in stale]
        + [f"no longer generated: {name}" for name in held - wanted]
    )


def describe(target: Path) -> None:
    """Write the documents of the policy language into `target`; leave by Python's own error otherwise."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"generate: the policy language cannot be described:\n{done.stderr}")


def main() -> int:
    """Write or check; return the exit status."""
    if "--check" not in sys.argv[1:]:
        generate(SOURCE)
        describe(ROOT / DOCUMENTS)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        found = [
            f"proto/src/{PACKAGE}: {line}" for line in differences(Path(folder) / PACKAGE, SOURCE / PACKAGE)
        ]
        fresh = Path(folder) / "docs"
        describe(fresh)
        for path in sorted(fresh.iterdir()):
            held = ROOT / DOCUMENTS / path.name
            if not held.is_file() or held.read_text() != path.read_text():
                found.append(f"{DOCUMENTS / path.name}: stale")
    for line in found:
        print(f"{line}; run `make generate` and commit the result", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
