"""gRPC's own threads in a process, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path


def grpc_slack(process_id: int) -> dict[str, int]:
    """Timer slack by thread id, nanoseconds; threads that end meanwhile are left out."""
    found: dict[str, int] = {}
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        try:
            if (thread / "comm").read_text().startswith(("event_engine", "lifeguard", "grpc_global")):
                found[thread.name] = int(Path(f"/proc/{thread.name}/timerslack_ns").read_text())
        except OSError:
            continue
    return found
