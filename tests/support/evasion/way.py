"""One way round a rule: who tries it, the command, and where the idea is published."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The named classes of the table, in its order."""

    COPY = "rename and copy"
    LINK = "links and mounts"
    NAMESPACE = "namespaces"
    INTERPRETER = "interpreters"
    MEMORY = "memory"
    REMOVABLE = "removable device tricks"
    TIME = "time"
    NETWORK = "network"
    SESSION = "session"
    TAMPER = "tampering"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """``script`` is run by bash; the way worked when what ``$MARK`` holds comes out of it.

    In its environment: ``GAME`` (a program that a rule refuses; ``"$GAME" "$MARK" -`` prints the mark and stays until
    its input ends), ``HOME`` (a folder of the pupil's on the same file system), ``GAME_SH`` and ``GAME_PY`` (scripts
    in it that a rule refuses), ``RESPONDER``, ``GUARDIAN`` and ``SERVICE`` (process ids), ``RUN`` and ``STATE`` (the
    agent's folders), ``STICK`` (an empty mount point). ``admin``: as root; else as a pupil. ``apart``: written before
    the defence, from ``source`` alone. ``needs``: programs without which it cannot be tried.
    """

    name: str
    kind: Kind
    script: str
    source: str
    admin: bool = False
    apart: bool = False
    needs: tuple[str, ...] = ()
