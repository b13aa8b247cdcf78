"""Whether the agent's files are those that the school's officers signed: a child process of the posture check's.

The package carries a list of its files with their SHA-256; the officers' signed release names the hash of that list,
and the release is verified from the root that the device pinned. Without a release of this very version there is dpkg's
own list, which tells a damaged or edited file and nobody who edits the list, too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from schoolkeeper_agent.sensors.linux.posture_machine import agent_integrity
from schoolkeeper_agent.sensors.linux.posture_parsers import Finding
from schoolkeeper_proto.model import PostureResult

HOME = "usr/lib/schoolkeeper-agent"
SUMS = "var/lib/dpkg/info/schoolkeeper-agent.md5sums"
_NAMED = 3


def signed_files(root: Path, listed_sha256: bytes, version: str) -> Finding:
    """``listed_sha256``: of the list, as the officers signed it for this version."""
    try:
        listed = (root / HOME / "files.sha256").read_bytes()
    except OSError:
        return _fail("the list of the agent's files is missing")
    if hashlib.sha256(listed).digest() != listed_sha256:
        return _fail(f"the list of the agent's files is not the one that the officers signed for {version}")
    faults: list[str] = []
    lines = listed.decode(errors="replace").splitlines()
    for line in lines:
        expected, _, name = line.partition("  ")
        try:
            with (root / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    faults.append(f"{name} was changed")
        except OSError:
            faults.append(f"{name} is missing")
    if faults:
        more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        return _fail("; ".join(faults[:_NAMED]) + more)
    evidence = f"{len(lines)} files as the officers signed them for {version}"
    return Finding(result=PostureResult.PASS, evidence=evidence)


def finding(root: Path, state_dir: Path) -> Finding:
    """By the signed list where there is one for the version that is installed, else by dpkg's."""
    from schoolkeeper_agent.trust import TrustDamaged, load_trust

    try:
        version = (root / HOME / "package-version").read_text().strip()
        trust = load_trust(state_dir)
    except (OSError, TrustDamaged):
        version, trust = "", None
    signed = trust.release if trust is not None else None
    if signed is not None and signed.version == version:
        return signed_files(root, signed.files_sha256, version)
    sums = root / SUMS
    return agent_integrity(sums.read_text() if sums.exists() else None, root)


def _fail(evidence: str) -> Finding:
    return Finding(result=PostureResult.FAIL, evidence=evidence)


def main(arguments: list[str]) -> int:
    """``signed_files ROOT STATE_DIR`` prints the finding as JSON."""
    found = finding(*(Path(one) for one in arguments))
    print(json.dumps({"result": found.result.value, "evidence": found.evidence, "because": found.because}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
