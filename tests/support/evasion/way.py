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
    in it that a rule refuses), ``EDITOR`` (what is allowed), ``ETC`` and ``OUTSIDE`` (the device's settings of the
    network, and a server beyond it), ``SESSION_SOCKET``, ``PUPIL``, ``OTHER_UID``, ``RESPONDER``, ``GUARDIAN`` and
    ``SERVICE`` (process ids), ``RUN`` (the agent's folder), ``STICK`` (an empty mount point), and the
    function ``as_pupil``.

    It is run as a pupil; ``admin``: as root; ``staged``: as root, who only does what the machine does for a pupil.
    ``apart``: written before the defence, from ``source`` alone. ``needs``: programs without which it cannot be tried.
    ``lone``: it cannot be tried without the agent, which it is about, or as root, since it would change the machine.
    """

    name: str
    kind: Kind
    script: str
    source: str
    admin: bool = False
    staged: bool = False
    apart: bool = False
    needs: tuple[str, ...] = ()
    lone: bool = False
