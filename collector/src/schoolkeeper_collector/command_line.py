"""What the commands share: the store opened and checked, a fault said in a line, who called, what time it is."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import typer

from schoolkeeper_collector.config import Settings, load_settings
from schoolkeeper_collector.school.keys import ServiceKeys, load_keys
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.migrate import check_schema

T = TypeVar("T")
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Opened:
    settings: Settings
    keys: ServiceKeys
    store: Store


@contextmanager
def opened_school() -> Iterator[Opened]:
    """The school's settings, keys and store, whose schema is this version's.

    Raises ``ConfigError``, ``KeysError``, ``SchemaError``, ``StoreUrlError`` or ``OSError``.
    """
    settings = load_settings()
    keys = load_keys(settings.state_dir)
    store = open_store(settings.store_url, settings.keys_url)
    try:
        check_schema(store)
        yield Opened(settings, keys, store)
    finally:
        store.close()


def guarded(work: Callable[[], T], faults: tuple[type[Exception], ...], *, code: int = 1) -> T:
    """What ``work`` returns; one of the ``faults`` is said without a trace, and ends the program with ``code``."""
    try:
        return work()
    except faults as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code) from error


def refuse(error: Exception, mistakes: Sequence[str]) -> NoReturn:
    """Says the mistakes of a file that was not taken, and ends the program."""
    for mistake in mistakes[:_SHOWN]:
        typer.echo(mistake, err=True)
    if len(mistakes) > _SHOWN:
        typer.echo(f"... and {len(mistakes) - _SHOWN} more", err=True)
    typer.echo("Nothing was changed.", err=True)
    raise typer.Exit(1) from error


def actor() -> str:
    """Whoever sits at the shell, as the log names them."""
    try:
        return f"shell:{getpass.getuser()}"[:64]
    except (KeyError, OSError):
        return "shell:unknown"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def date_of(unix_ms: int) -> str:
    """``2026-11-22 09:30``, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(unix_ms // 1000))
