"""``python -m schoolkeeper_agent.session [--socket PATH]``: the helper of one session."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

from schoolkeeper_agent.session.helper import bus_of_this_session, listen, reached_by_unit
from schoolkeeper_agent.session.lines import SOCKET_NAME
from schoolkeeper_agent.session.own import keep_to_itself

WHAT = "The helper of one session: shows what the school's agent says, and asks for exceptions."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m schoolkeeper_agent.session", description=WHAT)
    parser.add_argument("--socket", type=Path, default=Path("/run/schoolkeeper-agent") / SOCKET_NAME)
    parser.add_argument("--service-user", type=int, default=0, help="user id that the service must have")
    parser.add_argument(
        "--beside-unit", action="store_true", help="end at once where the system's unit reaches this desktop"
    )
    arguments = parser.parse_args()
    if arguments.beside_unit and reached_by_unit():
        return
    keep_to_itself()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            listen(arguments.socket, bus_address=bus_of_this_session(), trusted_user=arguments.service_user)
        )


if __name__ == "__main__":
    main()
