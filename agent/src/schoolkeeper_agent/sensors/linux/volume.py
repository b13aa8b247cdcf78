"""What every recogniser of a volume takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schoolkeeper_proto.model import MediumEncryption

Read = Callable[[int, int], bytes]
"""(offset, length) -> at most so many bytes; short or empty beyond the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """``file_system`` names what was seen, several joined by '+'; empty when nothing was recognised."""

    encryption: MediumEncryption
    file_system: str = ""
