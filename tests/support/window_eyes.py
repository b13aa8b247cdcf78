"""What a screen reader is told of a window: a program for the system's own Python (AT-SPI 2), printed as JSON.

``window_eyes.py PROGRAM-NAME``: every object that is shown, as [role, name, description, states that matter].
"""

import json
import sys
import time

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402

TRIES = 150


def objects(one, found):
    states = one.get_state_set()
    if states.contains(Atspi.StateType.VISIBLE) or one.get_role() == Atspi.Role.APPLICATION:
        kept = [
            said
            for said, state in (
                ("focusable", Atspi.StateType.FOCUSABLE),
                ("checked", Atspi.StateType.CHECKED),
            )
            if states.contains(state)
        ]
        found.append([one.get_role_name(), one.get_name() or "", one.get_description() or "", kept])
        for position in range(one.get_child_count()):
            child = one.get_child_at_index(position)
            if child is not None:
                objects(child, found)
    return found


def main():
    desktop = Atspi.get_desktop(0)
    for _ in range(TRIES):
        for position in range(desktop.get_child_count()):
            application = desktop.get_child_at_index(position)
            if application is not None and sys.argv[1] in (application.get_name() or ""):
                found = objects(application, [])
                if len(found) > 2:
                    print(json.dumps(found))
                    return 0
        time.sleep(0.1)
    return 1


sys.exit(main())
