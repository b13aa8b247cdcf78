"""Keeps the service small: OpenSSL is not loaded a second time beside gRPC's and cryptography's own.

asyncio and hashlib load it if it is there and do without it if not. The service speaks TLS by gRPC and hashes short
texts, so that Python's own build of SHA-256 does: 4.7 MiB less on every laptop (tests/bench/bench_memory.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OPENSSL = ("ssl", "_hashlib")


@contextmanager
def without_openssl() -> Iterator[None]:
    """What is imported inside finds no OpenSSL; afterwards it can be imported as ever, by enrolment for example."""
    kept_out = [name for name in _OPENSSL if name not in sys.modules]
    for name in kept_out:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's own word for "there is none"
    try:
        yield
    finally:
        for name in kept_out:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
