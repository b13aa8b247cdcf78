"""The loopback page of ``schoolkeeper-officer serve``: standard library only; JavaScript for passkeys alone."""
