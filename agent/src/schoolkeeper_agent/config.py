"""Settings of one machine: ``/etc/schoolkeeper/agent.toml``. Every one has a default; none is needed.

What the school decides (rules, what is collected) is never here: that is the signed policy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from schoolkeeper_agent.spool import room
from schoolkeeper_agent.system import here

CONFIG_PATH = here.CONFIG_FOLDER / "agent.toml"


class ConfigError(Exception):
    """A setting that cannot be used; names file, key and remedy."""


def _setting(default: Any, help_text: str, check: Callable[[object], str] = lambda _: "") -> Any:
    return field(default=default, metadata={"help": help_text, "check": check})


def _folder(value: object) -> str:
    return "" if Path(str(value)).is_absolute() else f"give an absolute path, for example {here.STATE_FOLDER}"


def _folder_or_none(value: object) -> str:
    return _folder(value) if value else ""


def _room(value: object) -> str:
    if isinstance(value, int) and value >= room.LEAST_ROOM:
        return ""
    return f"give bytes, at least {room.LEAST_ROOM}; {room.DEFAULT_ROOM} is the default"


def _positive(value: object) -> str:
    return "" if isinstance(value, int) and value > 0 else "give a whole number above 0"


def _addresses(value: object) -> str:
    for item in value if isinstance(value, tuple) else ():
        host, colon, port = str(item).rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            return f'{item!r} is not HOST:PORT, for example "collector.school.example:7444"'
    return ""


def _mounts(value: object) -> str:
    return (
        next(("give absolute paths" for item in value if not str(item).startswith("/")), "")
        if isinstance(value, tuple)
        else "give a list of paths"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the file may say. ``state_dir`` holds identity, trust and spool; ``run_dir`` sockets."""

    state_dir: Path = _setting(  # noqa: RUF009 - makes a field
        here.STATE_FOLDER, f"identity, policy and spool; only {here.ADMINISTRATOR} may read it", _folder
    )
    run_dir: Path = _setting(here.RUN_FOLDER, "sockets; gone after a restart", _folder)  # noqa: RUF009 - makes a field
    uplink_addresses: tuple[str, ...] = _setting(
        (), "collectors to try besides those that the school signed", _addresses
    )
    enrolment_addresses: tuple[str, ...] = _setting(
        (), "enrolment listeners to try besides those that the school signed", _addresses
    )
    proxy: str = _setting("", "http://[USER:PASSWORD@]HOST:PORT that is asked to CONNECT")
    room_bytes: int = _setting(room.DEFAULT_ROOM, "room of the spool in bytes", _room)
    memory_bytes: int = _setting(80 << 20, "resident memory above which the agent reports itself", _positive)
    cpu_percent: int = _setting(
        20, "share of one core over five minutes above which the agent reports itself", _positive
    )
    exec_mounts: tuple[str, ...] = _setting(
        (), "decide on programs only on these mount points; empty: on every real file system", _mounts
    )
    browser_folder: str = _setting(
        "",
        "where browsers look for their policies; empty: /etc, or nowhere while exec_mounts limits the agent",
        _folder_or_none,
    )
    audit_only: bool = _setting(False, "observe and enforce nothing, even as root")

    @property
    def browser_root(self) -> Path | None:
        """None: the machine's browsers are left alone."""
        if self.browser_folder:
            return Path(self.browser_folder)
        return None if self.exec_mounts else Path("/etc")


def help_text() -> str:
    """Every setting with its default and meaning, as a file that may be edited."""
    lines = ["# Settings of the agent on this machine. Every line here is the default."]
    for item in fields(Settings):
        lines += ["", f"# {item.metadata['help']}", f"{item.name} = {_toml(item.default)}"]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[]"
    if isinstance(value, Path):
        value = value.as_posix()
    return str(value) if isinstance(value, int) else f'"{value}"'


def load_settings(path: Path) -> Settings:
    """The file's settings over the defaults; the defaults where the usual file is not there. Raises ``ConfigError``."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        if path == CONFIG_PATH:
            return Settings()
        raise ConfigError(
            f"{path} is not there: give --config the file that is meant, or leave it out"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; run as root, or give --config") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    known = {item.name: item for item in fields(Settings)}
    values: dict[str, object] = {}
    for key, value in data.items():
        if key not in known:
            import difflib  # only for a mistake

            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{path}: {key!r} is not a setting; {hint}")
        values[key] = _typed(path, key, value, known[key].default)
        problem = known[key].metadata["check"](values[key])
        if problem:
            raise ConfigError(f"{path}: {key} = {value!r}: {problem}")
    return Settings(**values)  # type: ignore[arg-type]  # each was checked against its default's type


def _typed(path: Path, key: str, value: object, default: object) -> object:
    if isinstance(default, tuple):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f'{path}: {key} must be a list of texts, for example ["a", "b"]')
    if isinstance(default, Path):
        if isinstance(value, str):
            return Path(value)
        raise ConfigError(f'{path}: {key} must be a path in quotes, for example "{default}"')
    if type(value) is not type(default):
        raise ConfigError(
            f"{path}: {key} must be of the kind of its default, {_toml(default)}; it is {value!r}"
        )
    return value
