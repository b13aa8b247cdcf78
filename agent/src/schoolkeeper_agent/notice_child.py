"""The short-lived process that writes the notice of what is monitored (T-41): its words take 1.5 MiB, minutes apart.

Standard input brings one JSON object: where the state is, where to write, which sensors run and the policy that the
service has in force. The process opens the policy itself and writes nothing if it finds another one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.system import here

CHILD_SECONDS = 60.0
FOLDER = "notice"
"""Below the folder of the run, for everybody to read."""


class NoticeNotWritten(Exception):
    """The notice on the disk is not that of what runs now; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One sensor as it is now; ``problem`` is empty while it runs."""

    name: str
    kinds: tuple[str, ...]
    problem: str


async def write(state_dir: Path, run_dir: Path, bundle_hash: bytes, watched: Iterable[Watched]) -> None:
    """Has the notice written anew below ``run_dir``; raises ``NoticeNotWritten`` or OSError."""
    request = {
        "state_dir": str(state_dir),
        "run_dir": str(run_dir),
        "bundle_hash": bundle_hash.hex(),
        "running": [{"name": one.name, "kinds": one.kinds, "problem": one.problem} for one in watched],
    }
    process = await asyncio.create_subprocess_exec(
        *here.child_command("schoolkeeper_agent.notice_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHILD_SECONDS):
            _, said = await process.communicate(json.dumps(request).encode())
    except TimeoutError as error:
        raise NoticeNotWritten(f"writing it took longer than {CHILD_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise NoticeNotWritten(said.decode(errors="replace").strip().rpartition("\n")[2][:300])


def main() -> int:
    from schoolkeeper_agent.notice import Running, write_notices
    from schoolkeeper_agent.policy_file import policy_at_start
    from schoolkeeper_agent.trust import TrustDamaged, load_trust

    request = json.load(sys.stdin)
    state_dir = Path(request["state_dir"])
    try:
        trust = load_trust(state_dir)
        if trust is None:
            raise TrustDamaged(f"there is no policy in {state_dir}")
        bundle = policy_at_start(trust, state_dir).bundle
        if bundle.hash.hex() != request["bundle_hash"]:
            raise TrustDamaged("the policy on the disk is not the one in force")
        running = [
            Running(name=one["name"], kinds=tuple(one["kinds"]), problem=one["problem"])
            for one in request["running"]
        ]
        write_notices(Path(request["run_dir"]), bundle, running)
    except (TrustDamaged, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
