"""A list of devices and their groups, from a CSV that any register can export."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schoolkeeper_policies.problems import PolicyError, Position, Problem

MAX_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceList:
    """``groups`` maps a device, by its name or id, to its group."""

    groups: dict[str, str] = field(default_factory=dict)

    def group_of(self, device: str) -> str | None:
        return self.groups.get(device)

    def count(self, group: str) -> int:
        return Counter(self.groups.values())[group]


def read_devices(file: str | Path) -> DeviceList:
    """Raises ``PolicyError`` with every line that cannot be used."""
    path = Path(file)
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise _refused(str(file), 0, f"the file has more than {MAX_BYTES} bytes", "split it")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise _refused(str(file), 0, f"it cannot be read: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise _refused(str(file), 0, f"not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    rows = csv.reader(io.StringIO(text))
    heading = [name.strip().lower() for name in next(rows, [])]
    if "device" not in heading or "group" not in heading:
        raise _refused(str(file), 1, f"the columns are {', '.join(heading)}", "name them device and group")
    groups: dict[str, str] = {}
    problems: list[Problem] = []
    for line, row in enumerate(rows, 2):
        if any(cell.strip() for cell in row):
            problems += _take(str(file), line, dict(zip(heading, row, strict=False)), groups)
    if problems:
        raise PolicyError(problems)
    return DeviceList(groups=groups)


def _take(file: str, line: int, row: dict[str, str], groups: dict[str, str]) -> Iterator[Problem]:
    device, group = row.get("device", "").strip(), row.get("group", "").strip()
    at = Position(file=file, line=line, column=1)
    if not device or not group:
        yield Problem(position=at, reason="device or group is empty", remedy="fill it in")
    elif groups.get(device, group) != group:
        reason = f"{device!r} is already in {groups[device]!r}"
        yield Problem(position=at, reason=reason, remedy="keep one line for it")
    else:
        groups[device] = group


def _refused(file: str, line: int, reason: str, remedy: str) -> PolicyError:
    at = Position(file=file, line=line, column=1 if line else 0)
    return PolicyError([Problem(position=at, reason=reason, remedy=remedy)])
