"""Keeps the service small: what its libraries would load and it never uses stays out (tests/bench/bench_memory.py).

OpenSSL is not loaded a second time beside gRPC's and cryptography's own: asyncio and hashlib load it if it is there and
do without it if not. The service speaks TLS by gRPC and hashes short texts, so that Python's own build of SHA-256 does:
4.7 MiB less on every laptop. Modules that libraries import for others, and the classes that `dataclasses` leaves
behind, are another 3 MiB.
"""

from __future__ import annotations

import gc
import importlib
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_OPENSSL = ("ssl", "_hashlib")
_SSH = "cryptography.hazmat.primitives.serialization.ssh"
_UNUSED = ("google.protobuf.internal.python_message", "typing_extensions", _SSH)
"""protobuf written in Python, imported also where its C library is in use; names that `typing` has since 3.11; keys in
the format of SSH, whose functions are named where those of other formats are imported from."""


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


@contextmanager
def without_unused() -> Iterator[None]:
    """What is imported inside gets stand-ins of modules that it hardly uses; afterwards they are importable as ever."""
    stand_ins = {name: _StandIn(name) for name in _UNUSED if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _StandIn(ModuleType):
    """Answers with what `typing` has by that name; anything else is asked of the real module, which is loaded then."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks whether it is a package
        if self.__name__ == "typing_extensions" and hasattr(typing, name):
            return getattr(typing, name)
        if self.__name__ == _SSH:
            return lambda *given, **named: getattr(importlib.import_module(_SSH), name)(*given, **named)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def forget_first_classes() -> int:
    """Releases the class that ``dataclass(slots=True)`` made first of each class; how many were held.

    Python up to 3.13 keeps it, 3 KiB each: by the descriptor of `__weakref__`, which it copies although instances have
    no such slot, and by the closures of a frozen class (python/cpython issue 135228). Both are of no use.
    """
    found = [cls for cls in _below(object) if _is_copy(cls)]
    for cls in found:
        _let_go(cls)
    gc.collect()
    return len(found)


def _let_go(cls: type) -> None:
    type.__delattr__(cls, "__weakref__")
    for method in ("__setattr__", "__delattr__"):
        for cell in getattr(cls.__dict__.get(method), "__closure__", None) or ():
            first = cell.cell_contents
            if isinstance(first, type) and first is not cls and first.__qualname__ == cls.__qualname__:
                cell.cell_contents = cls


def _is_copy(cls: type) -> bool:
    names = cls.__dict__
    return (
        "__dataclass_fields__" in names
        and "__slots__" in names
        and "__weakref__" in names
        and "__weakref__" not in names["__slots__"]
    )


def _below(top: type) -> list[type]:
    """Every class that derives from ``top``, once each. None of them is held afterwards but by the caller."""
    found: dict[type, None] = {}
    left = [top]
    while left:
        below: list[type] = type.__subclasses__(left.pop())
        for cls in below:
            if cls not in found:
                found[cls] = None
                left.append(cls)
    return list(found)
