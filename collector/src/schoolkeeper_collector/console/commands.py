"""``account``, ``people`` and ``asset``: who may sign in, and the two registers, from the collector's command line."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import select

from schoolkeeper_collector.command_line import actor, guarded, now_ms, opened_school, refuse
from schoolkeeper_collector.config import ConfigError
from schoolkeeper_collector.console import accounts, registers
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.rerouting import reroute_all
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_collector.school.keys import KeysError, ServiceKeys
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.store.database import Store, StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.model import Register
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.registers import write_register

T = TypeVar("T")
PSEUDONYM_BYTES = 16
_FAULTS = (
    ConfigError,
    KeysError,
    SchemaError,
    StoreUrlError,
    accounts.AccountError,
    PackInForceError,
    PolicyError,
    OSError,
)

account_app = typer.Typer(help="Who may sign in to the console.", no_args_is_help=True)
people_app = typer.Typer(help="The register of people.", no_args_is_help=True)
asset_app = typer.Typer(
    help="The asset register: the denominator of every count of devices.", no_args_is_help=True
)


@dataclass(frozen=True, slots=True)
class _School:
    store: Store
    keys: ServiceKeys
    state_dir: Path

    @property
    def school_id(self) -> str:
        return self.keys.school_id


def register(app: typer.Typer) -> None:
    """Adds the commands to the collector's program."""
    app.add_typer(account_app, name="account")
    app.add_typer(people_app, name="people")
    app.add_typer(asset_app, name="asset")


def pseudonym_of(pseudonym_key: bytes, account_name: str) -> bytes:
    """Return the pseudonym that every device of the school gives this account (see event.proto, UserRef)."""
    return hmac.digest(pseudonym_key, account_name.encode(), "sha256")[:PSEUDONYM_BYTES]


@account_app.command("create")
def account_create(
    login: Annotated[str, typer.Argument(help="The name to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the account may see.")],
    name: Annotated[str, typer.Option(help="What to call the person on a page.")],
    email: Annotated[str, typer.Option(help="Where notices go; they hold no personal detail.")] = "",
    person: Annotated[
        str,
        typer.Option(help="The person's account name in the register: nobody sees an item about themselves."),
    ] = "",
) -> None:
    """Make an account and print its first password, once."""

    def work(school: _School) -> tuple[accounts.NewAccount, int]:
        now = now_ms()
        with school.store.write() as connection:
            made = accounts.create_account(
                connection,
                school_id=school.school_id,
                login=login,
                display_name=name,
                role=role,
                console_key=school.keys.console_key,
                now_ms=now,
                email=email,
                person_account_name=person,
                actor=actor(),
            )
            # Some may have waited for nobody until now.
            log = CaseLog(school.school_id, school.store.keystore)
            return made, reroute_all(connection, log, school.school_id, actor(), now)

    made, moved = _guarded(work)
    typer.echo(f"{made.account.login} ({made.account.role}) is made.")
    _first_sign_in(made)
    if moved:
        typer.echo(f"{moved} open items wait for another role now")
    if role is not Role.TECHNICIAN and not person:
        typer.echo("Without --person the console cannot tell which items are about this person.", err=True)


@account_app.command("list")
def account_list() -> None:
    """List accounts: sign-in name, role, state, name."""

    def work(school: _School) -> list[accounts.Account]:
        with school.store.read() as connection:
            return accounts.all_accounts(connection, school.school_id)

    for account in _guarded(work):
        typer.echo(f"{account.login:24} {account.role:11} {_state(account):22} {account.display_name}")


@account_app.command("disable")
def account_disable(login: Annotated[str, typer.Argument(help="The name to sign in with.")]) -> None:
    """Close an account at once; what it wrote stays."""

    def work(school: _School) -> accounts.Account:
        with school.store.write() as connection:
            return accounts.disable_account(
                connection, school_id=school.school_id, login=login, now_ms=now_ms(), actor=actor()
            )

    typer.echo(f"{_guarded(work).login} can no longer sign in, and its sessions have ended.")


@account_app.command("reset")
def account_reset(login: Annotated[str, typer.Argument(help="The name to sign in with.")]) -> None:
    """Give an account a new first password and a new second factor, and open it again."""

    def work(school: _School) -> accounts.NewAccount:
        with school.store.write() as connection:
            return accounts.reset_account(
                connection,
                school_id=school.school_id,
                login=login,
                console_key=school.keys.console_key,
                now_ms=now_ms(),
                actor=actor(),
            )

    made = _guarded(work)
    typer.echo(f"{made.account.login} is reset, and its sessions have ended.")
    _first_sign_in(made)


@people_app.command("import")
def people_import(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with account_name,kind,display_name (kinds: pupil, staff, guest, shared), or the export of a "
            "management system, Entra or Google Workspace."
        ),
    ],
) -> None:
    """Make the register of people equal to a file; nothing is changed if a line is wrong.

    Rules for people take who is in which year and class from it when a policy is staged next.
    """

    def work(school: _School) -> tuple[registers.Taken, int]:
        today = datetime.now(_zone(school.store)).date()
        found = registers.read_register(file.read_bytes(), file.name, _settings(school.state_dir), today)
        now = now_ms()
        with school.store.write() as connection:
            taken = registers.store_people(
                connection,
                school.school_id,
                found.rows,
                pseudonym_of=lambda account: pseudonym_of(school.keys.pseudonym_key, account),
                now_ms=now,
            )
            log = CaseLog(school.school_id, school.store.keystore)
            moved = reroute_all(connection, log, school.school_id, actor(), now)
            kept = write_register(found.register).encode()
            write_file(SchoolPaths(school.state_dir).register, kept, private=True)
            return taken, moved

    taken, moved = _guarded(work)
    typer.echo(f"people: {taken.added} added, {taken.changed} changed, {taken.gone} marked as left")
    if moved:
        typer.echo(f"{moved} open items wait for another role now, as the register says whom they are about")


def _zone(store: Store) -> ZoneInfo:
    with store.read() as connection:
        return ZoneInfo(connection.execute(select(schools.c.time_zone)).scalar_one())


def _settings(state_dir: Path) -> Register:
    """How the pack in force says that the register is to be read."""
    people = load_pack(pack_in_force(state_dir)).people
    return (people.register_ if people is not None else None) or Register(file="-")


@asset_app.command("import")
def asset_import(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with asset_tag,serial and, if you like, description,platform,assigned_to."),
    ],
) -> None:
    """Make the asset register equal to a file; nothing is changed if a line is wrong."""

    def work(school: _School) -> registers.Taken:
        rows = registers.read_assets(file.read_bytes(), file.name)
        with school.store.write() as connection:
            return registers.store_assets(connection, school.school_id, rows, now_ms=now_ms())

    taken = _guarded(work)
    typer.echo(f"assets: {taken.added} added, {taken.changed} changed, {taken.gone} removed")


def _state(account: accounts.Account) -> str:
    if account.disabled_ms is not None:
        return "disabled"
    if account.second_factor_since_ms is None:
        return "second factor missing"
    return "first password" if account.must_change_password else "in use"


def _first_sign_in(made: accounts.NewAccount) -> None:
    typer.echo(f"First password: {made.password}")
    typer.echo(
        "It is shown only here. At the first sign-in the person sets up the second factor and a new password."
    )


@contextmanager
def _school() -> Iterator[_School]:
    with opened_school() as found:
        yield _School(found.store, found.keys, found.settings.state_dir)


def _guarded(work: Callable[[_School], T]) -> T:
    def with_school() -> T:
        with _school() as school:
            return work(school)

    try:
        return guarded(with_school, _FAULTS)
    except registers.RegisterError as error:
        refuse(error, error.mistakes)
