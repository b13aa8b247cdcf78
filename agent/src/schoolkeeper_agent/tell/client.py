"""The way from the form to the running agent: one question, one answer, over the session socket."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from schoolkeeper_agent.session.calling import SECONDS, call
from schoolkeeper_agent.session.calling import NotReached as NotReached
from schoolkeeper_agent.session.calling import TooLong as TooLong
from schoolkeeper_agent.session.telling_lines import Answer, Request, Telling, read_answer, write_request


def speak(run_dir: Path, request: Request, *, seconds: float = SECONDS) -> Answer:
    """The service's answer. Raises ``NotReached`` or ``TooLong``."""
    takes = isinstance(request, Telling)
    answered = call(run_dir, write_request(request), read_answer, takes=takes, seconds=seconds)
    return cast(Answer, answered)
