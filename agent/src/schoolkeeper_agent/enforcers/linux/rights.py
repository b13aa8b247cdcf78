"""What this process may do here, with the reason in words when it may not."""

from __future__ import annotations

import os

from schoolkeeper_agent.enforcers.linux.exec_responder.fanotify import Group
from schoolkeeper_agent.enforcers.linux.exec_responder.process import libc
from schoolkeeper_agent.seams import Ability


def fanotify_ability() -> Ability:
    """Asks the kernel by making a group and closing it again."""
    try:
        group = Group(libc())
    except OSError as error:
        return Ability(able=False, because=f"the kernel refuses exec decisions: {error.strerror}")
    os.close(group.fd)
    return Ability(able=True)
