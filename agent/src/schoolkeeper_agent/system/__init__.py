"""The operating system below the agent: ``here`` has the same names on each (see README.md)."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from schoolkeeper_agent.system import windows as here
else:
    from schoolkeeper_agent.system import posix as here

__all__ = ("here",)
