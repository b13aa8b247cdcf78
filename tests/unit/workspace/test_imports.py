"""Import rules, each broken once in a copy of the sources to see that the contract of pyproject.toml notices."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = ("proto", "policies", "agent", "collector")


def test_the_merkle_code_imports_only_hashlib() -> None:
    tree = ast.parse((ROOT / "proto/src/schoolkeeper_proto/merkle.py").read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    taken_from = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert (named | taken_from) - {"__future__"} == {"hashlib"}


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("proto/src/schoolkeeper_proto", "import schoolkeeper_policies", "proto imports none"),
        ("policies/src/schoolkeeper_policies", "import schoolkeeper_agent", "policies import neither"),
        ("agent/src/schoolkeeper_agent", "import schoolkeeper_policies", "agent and collector never meet"),
        ("agent/src/schoolkeeper_agent", "import schoolkeeper_collector", "agent and collector never meet"),
        ("agent/src/schoolkeeper_agent", "import sqlalchemy", "stays light"),
        ("proto/src/schoolkeeper_proto", "import ruamel.yaml", "stays light"),
        ("collector/src/schoolkeeper_collector", "import schoolkeeper_agent", "the collector never imports"),
        (
            "agent/src/schoolkeeper_agent",
            "from schoolkeeper_proto.v1 import event_pb2",
            "only the codec knows",
        ),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for member in MEMBERS:
        shutil.copytree(
            ROOT / member / "src", tmp_path / member / "src", ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / module / "intruder.py").write_text(line + "\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ":".join(str(tmp_path / member / "src") for member in MEMBERS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert contract in done.stdout.split("Broken contracts")[-1]
