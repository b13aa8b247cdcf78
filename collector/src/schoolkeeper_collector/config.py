"""The collector's settings: built-in defaults, then the TOML file, then ``SCHOOLKEEPER_*`` variables.

The file is ``/etc/schoolkeeper/collector.toml``, or what ``SCHOOLKEEPER_CONFIG`` names. A key that is not listed
here is refused by name, so that a typing mistake is not silently a default.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schoolkeeper_collector.devices.inventory import STALE_DAYS
from schoolkeeper_collector.store.retention import INCIDENT_DAYS

DEFAULT_CONFIG = Path("/etc/schoolkeeper/collector.toml")


class ConfigError(Exception):
    """A setting that cannot be used; names file or variable, the setting and the remedy."""


class Settings(BaseSettings):
    """Addresses are ``host:port``; sizes in bytes, durations in seconds."""

    model_config = SettingsConfigDict(env_prefix="SCHOOLKEEPER_", extra="forbid", frozen=True)

    state_dir: Path = Path("/var/lib/schoolkeeper-collector")
    database_url: str = ""
    keystore_url: str = ""
    enrol_listen: str = "0.0.0.0:7443"
    uplink_listen: str = "0.0.0.0:7444"
    console_listen: str = "127.0.0.1:8443"
    health_listen: str = "127.0.0.1:9464"

    log_level: str = "info"

    # Notices by e-mail; without a host nobody is told by e-mail. The password lies in a file of its own.
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password_file: Path | None = None
    mail_from: str = ""
    # What people type to open the console; notices link to it.
    console_url: str = ""

    # For how many days; left out: as the notice of the policy in force says. See school/keeping.py for the bounds.
    keep_raw_days: int | None = Field(default=None, ge=7, le=36_500)
    keep_year_days: int | None = Field(default=None, ge=30, le=36_500)
    keep_safeguarding_days: int | None = Field(default=None, ge=30, le=36_500)
    # What an incident rests on, from its closing on.
    keep_incident_days: int = Field(default=INCIDENT_DAYS, ge=366, le=36_500)

    # After so many days what a device management told of a device is shown as old.
    inventory_stale_days: int = Field(default=STALE_DAYS, ge=1, le=366)

    # Every so many months, on the first day of school, after school: a technical audit of all devices; 0: none.
    snapshot_months: int = Field(default=1, ge=0, le=12)

    max_batch_bytes: int = Field(default=1 << 20, ge=1 << 16, le=4 << 20)
    max_frames: int = Field(default=512, ge=1, le=4096)
    window_batches: int = Field(default=4, ge=1, le=64)
    heartbeat_seconds: int = Field(default=60, ge=5, le=3600)
    in_flight_bytes: int = Field(default=64 << 20, ge=4 << 20)
    daily_bytes_critical: int = Field(default=256 << 20, ge=1 << 20)
    daily_bytes_normal: int = Field(default=1 << 30, ge=1 << 20)
    daily_bytes_bulk: int = Field(default=1 << 30, ge=1 << 20)

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.state_dir}/collector.db"

    @property
    def keys_url(self) -> str:
        return self.keystore_url or f"sqlite:///{self.state_dir}/keystore.db"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = config_file()
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file))


def config_file() -> Path:
    return Path(os.environ.get("SCHOOLKEEPER_CONFIG", DEFAULT_CONFIG))


def load_settings() -> Settings:
    """Raises ``ConfigError`` naming every setting that does not fit."""
    _check_variables()
    try:
        with contextlib.suppress(FileNotFoundError), config_file().open("rb"):
            pass  # what is there and is no file, pydantic would pass over without a word
        if "SCHOOLKEEPER_CONFIG" in os.environ and not config_file().exists():
            raise ConfigError(
                f"{config_file()} is not there: name another file in SCHOOLKEEPER_CONFIG, or unset it"
            )
        settings = Settings()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{config_file()}: not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"{config_file()} cannot be read ({error.strerror}): run this as the service's user or as root, "
            "or name another file in SCHOOLKEEPER_CONFIG"
        ) from error
    except ValidationError as error:
        lines = [f"  {_mistake(item['type'], item['loc'], item['msg'])}" for item in error.errors()]
        raise ConfigError(
            f"settings in {config_file()} or SCHOOLKEEPER_* variables do not fit:\n" + "\n".join(lines)
        ) from error
    for name in ("enrol_listen", "uplink_listen", "console_listen", "health_listen"):
        if getattr(settings, name) or name in ("enrol_listen", "uplink_listen"):  # the others may be left out
            address_of(getattr(settings, name), name)
    return settings


def address_of(text: str, setting: str) -> tuple[str, int]:
    """(host, port); raises ``ConfigError`` naming the setting."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) < 65_536:
        usual = Settings.model_fields[setting].default
        raise ConfigError(f"{setting} = {text!r}: write it as host:port, for example {usual}")
    return host.strip("[]"), int(port)


def _mistake(kind: str, place: tuple[int | str, ...], told: str) -> str:
    name = ".".join(str(part) for part in place)
    if kind != "extra_forbidden":
        return f"{name}: {told}"
    near = difflib.get_close_matches(name, Settings.model_fields, 1)
    remedy = (
        f"did you mean {near[0]}?" if near else f"remove it; there are {', '.join(Settings.model_fields)}"
    )
    return f"{name}: there is no such setting: {remedy}"


def _check_variables() -> None:
    """A variable that nearly names a setting is a typing mistake. Others may belong to other programs."""
    known = {f"SCHOOLKEEPER_{name.upper()}" for name in Settings.model_fields} | {"SCHOOLKEEPER_CONFIG"}
    for name in sorted(os.environ):
        if not name.startswith("SCHOOLKEEPER_") or name.upper() in known:
            continue
        near = difflib.get_close_matches(name, known, 1, cutoff=0.85)
        if near:
            raise ConfigError(f"the variable {name} is no setting: did you mean {near[0]}?")
