"""What answers ``schoolkeeper-agent status``: one line of JSON, to the administrator and the agent's own user.

Who asks, the system says (``system``); nobody else gets more than a refusal in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from schoolkeeper_agent.status import StatusReport, from_json, to_json
from schoolkeeper_agent.system import here

NAME = "status.sock"


class NotRunning(Exception):
    """Nobody answers on the socket."""


class NotAllowed(Exception):
    """The agent does not tell this user."""


async def serve(run_dir: Path, report: Callable[[], Awaitable[StatusReport]]) -> asyncio.Server:
    """Starts answering. A socket left by a dead run is replaced."""

    async def say() -> bytes:
        return to_json(await report()).encode()

    return await here.answer_owner(run_dir / NAME, say)


def ask(run_dir: Path, timeout: float = 5.0) -> StatusReport:
    """The running agent's report; raises ``NotRunning`` or ``NotAllowed``."""
    try:
        return from_json(here.ask_owner(run_dir / NAME, timeout).decode(errors="replace"))
    except here.NotTheOwner as error:
        raise NotAllowed(str(error)) from error
    except OSError as error:
        raise NotRunning(str(error)) from error
    except ValueError as error:
        raise NotRunning(f"the answer cannot be read: {error}") from error
