"""What the command line asks a person for, and how it ends when something is wrong that a person can put right."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer

from schoolkeeper_policies.officer import grants, keyfile, memory, passkey, record, signing, staged
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto.codec import WireFormatError
from schoolkeeper_proto.trust import TrustRefused

T = TypeVar("T")
FAULTS = (
    grants.GrantError,
    keyfile.KeyFileError,
    memory.MemoryFault,
    passkey.PasskeyError,
    PolicyError,
    ReasonError,
    record.RecordError,
    signing.SigningError,
    staged.StagedError,
    TrustRefused,
    WireFormatError,
)


def guarded(work: Callable[[], T]) -> T:
    """Runs it; what an officer can put right ends the program with a message and no trace."""
    try:
        return work()
    except FAULTS as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        typer.echo(f"error: {error.filename or 'this machine'}: {error.strerror}", err=True)
        raise typer.Exit(1) from error


def passphrase_of(path: Path) -> str | None:
    """The passphrase of a key file, asked for; None where it has none."""
    return getpass.getpass(f"Passphrase of {path}: ") if keyfile.is_protected(path) else None


def open_keys(path: Path) -> keyfile.OfficerKeys:
    return guarded(lambda: keyfile.load_keys(path, passphrase_of(path)))


def new_passphrase() -> str:
    first = getpass.getpass("New passphrase (four or more words): ")
    keyfile.check_passphrase(first)
    if getpass.getpass("Once more: ") != first:
        raise keyfile.KeyFileError("the two passphrases differ: nothing was written")
    return first
