"""Windows' own registry, read only, as 64-bit programs see it."""

from __future__ import annotations

import sys
import winreg

from schoolkeeper_agent.sensors.windows.registry import MACHINE, PEOPLE

assert sys.platform == "win32"

_HIVES = {MACHINE: winreg.HKEY_LOCAL_MACHINE, PEOPLE: winreg.HKEY_USERS}
_READ = winreg.KEY_READ | winreg.KEY_WOW64_64KEY


class WindowsRegistry:
    """Fulfils ``registry.Registry``."""

    def value(self, hive: str, key: str, name: str) -> int | str | None:
        try:
            with winreg.OpenKey(_HIVES[hive], key, 0, _READ) as found:
                value, _kind = winreg.QueryValueEx(found, name)
        except FileNotFoundError:
            return None
        if isinstance(value, (int, str)):
            return value
        raise OSError(f"{hive}\\{key}: {name} is neither a number nor a text")

    def keys(self, hive: str, key: str) -> tuple[str, ...]:
        try:
            with winreg.OpenKey(_HIVES[hive], key, 0, _READ) as found:
                return tuple(winreg.EnumKey(found, n) for n in range(winreg.QueryInfoKey(found)[0]))
        except FileNotFoundError:
            return ()
