"""What the command and the service say to each other: one line of JSON each way, and its bounds."""

NAME = "removal.sock"
MAX_LINE = 4_096
"""Bytes: 300 characters of any script fit, escaped as JSON."""
MOST_REASON = 300
"""Characters."""
MOST_WAIT = 600
"""Seconds."""
