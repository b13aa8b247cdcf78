"""The agent that runs on a school's device."""
