"""The loopback page of ``schoolkeeper-officer serve``: standard library only, no JavaScript."""
