"""Accounts of the console: made on the command line, kept in the store, signed in with two factors."""

from __future__ import annotations

import re
import secrets as stdlib_secrets
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.store.tables import accounts, people, sessions

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,254}")


class AccountError(Exception):
    """What was asked of an account cannot be done; names the account and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One person's way in. Times are Unix milliseconds."""

    account_id: str
    school_id: str
    login: str
    display_name: str
    role: Role
    email: str
    password_hash: str = field(repr=False)
    sealed_second_factor: bytes = field(repr=False)
    second_factor_since_ms: int | None
    must_change_password: bool
    disabled_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account just made or reset, with the only copy of its first password and second-factor key."""

    account: Account
    password: str = field(repr=False)
    second_factor: str = field(repr=False)


def by_login(connection: Connection, school_id: str, login: str) -> Account | None:
    """Find an account by what its person types; case and outer blanks do not matter."""
    query = select(accounts).where(
        accounts.c.school_id == school_id, accounts.c.login == login.strip().lower()
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _account(row)


def by_id(connection: Connection, account_id: str) -> Account | None:
    """Find an account by its own id."""
    row = (
        connection.execute(select(accounts).where(accounts.c.account_id == account_id))
        .mappings()
        .one_or_none()
    )
    return None if row is None else _account(row)


def all_accounts(connection: Connection, school_id: str) -> list[Account]:
    """List a school's accounts by login, disabled ones too."""
    query = select(accounts).where(accounts.c.school_id == school_id).order_by(accounts.c.login)
    return [_account(row) for row in connection.execute(query).mappings()]


def names(connection: Connection, school_id: str) -> dict[str, str]:
    """Return what to call each account on a page."""
    query = select(accounts.c.account_id, accounts.c.display_name).where(accounts.c.school_id == school_id)
    return {row.account_id: row.display_name for row in connection.execute(query)}


def create_account(
    connection: Connection,
    *,
    school_id: str,
    login: str,
    display_name: str,
    role: Role,
    console_key: bytes,
    now_ms: int,
    email: str = "",
    person_account_name: str = "",
    password: str = "",
    second_factor: str = "",
    ready: bool = False,
    actor: str = "shell",
) -> NewAccount:
    """Make an account; raises AccountError.

    Without ``password`` and ``second_factor`` both are made up; the person sets up the second factor at the first
    sign-in and changes the password. ``ready`` skips both steps: for demonstrations, with a secret that is known.
    ``person_account_name`` links the account to the same person in the register, so that nobody sees an item about
    themselves.
    """
    login = login.strip().lower()
    if not _LOGIN.fullmatch(login):
        raise AccountError(f"{login!r} cannot be a sign-in name: use 2 to 255 of a-z, 0-9 and . _ @ + -")
    if not display_name.strip():
        raise AccountError(f"account {login}: the name to show is empty; pass --name")
    if password and (fault := secrets.password_fault(password, login)):
        raise AccountError(f"account {login}: {fault}")
    if second_factor and (fault := secrets.second_factor_fault(second_factor)):
        raise AccountError(f"account {login}: {fault}")
    account_id = stdlib_secrets.token_hex(8)
    password = password or _first_password()
    second_factor = second_factor or secrets.new_second_factor()
    row = {
        "account_id": account_id,
        "school_id": school_id,
        "login": login,
        "display_name": display_name.strip(),
        "role": role.value,
        "email": email.strip(),
        "password_hash": secrets.hash_password(password),
        "totp_secret": secrets.seal(second_factor, account_id=account_id, console_key=console_key),
        "totp_confirmed_ms": now_ms if ready else None,
        "must_change_password": not ready,
        "created_ms": now_ms,
    }
    try:
        connection.execute(insert(accounts).values(row))
    except IntegrityError as error:
        raise AccountError(
            f"account {login} is there already; choose another name, or run: account reset {login}"
        ) from error
    if person_account_name:
        _link_person(connection, school_id, account_id, person_account_name)
    _note(connection, school_id, actor, account_id, "account.created", now_ms)
    made = by_id(connection, account_id)
    assert made is not None
    return NewAccount(account=made, password=password, second_factor=second_factor)


def reset_account(
    connection: Connection,
    *,
    school_id: str,
    login: str,
    console_key: bytes,
    now_ms: int,
    actor: str = "shell",
) -> NewAccount:
    """Give a new first password and second factor, end every session and open the account again."""
    account = _known(connection, school_id, login)
    password, second_factor = _first_password(), secrets.new_second_factor()
    sealed = secrets.seal(second_factor, account_id=account.account_id, console_key=console_key)
    connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account.account_id)
        .values(
            password_hash=secrets.hash_password(password),
            totp_secret=sealed,
            totp_confirmed_ms=None,
            totp_last_step=0,
            must_change_password=True,
            disabled_ms=None,
        )
    )
    connection.execute(delete(sessions).where(sessions.c.account_id == account.account_id))
    _note(connection, school_id, actor, account.account_id, "account.reset", now_ms)
    reset = by_id(connection, account.account_id)
    assert reset is not None
    return NewAccount(account=reset, password=password, second_factor=second_factor)


def disable_account(
    connection: Connection, *, school_id: str, login: str, now_ms: int, actor: str = "shell"
) -> Account:
    """Close an account and end its sessions; what it wrote stays."""
    account = _known(connection, school_id, login)
    connection.execute(
        update(accounts).where(accounts.c.account_id == account.account_id).values(disabled_ms=now_ms)
    )
    connection.execute(delete(sessions).where(sessions.c.account_id == account.account_id))
    _note(connection, school_id, actor, account.account_id, "account.disabled", now_ms)
    return account


def change_password(
    connection: Connection, account: Account, password: str, *, keep: bytes, now_ms: int
) -> None:
    """Set a password that the person chose; every session but the one with hash ``keep`` ends."""
    connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account.account_id)
        .values(password_hash=secrets.hash_password(password), must_change_password=False)
    )
    others = sessions.c.account_id == account.account_id, sessions.c.token_hash != keep
    connection.execute(delete(sessions).where(*others))
    own = account.account_id
    _note(connection, account.school_id, own, own, "account.password_changed", now_ms)


def use_code(connection: Connection, account: Account, code: str, *, console_key: bytes, now_ms: int) -> bool:
    """Accept a second-factor code once; a code used before, or an older one, is refused."""
    secret = secrets.open_sealed(
        account.sealed_second_factor, account_id=account.account_id, console_key=console_key
    )
    step = secrets.step_of(secret, code, now_ms)
    if step is None:
        return False
    values: dict[str, int] = {"totp_last_step": step}
    if account.second_factor_since_ms is None:
        values["totp_confirmed_ms"] = now_ms
    fresh = accounts.c.account_id == account.account_id, accounts.c.totp_last_step < step
    return connection.execute(update(accounts).where(*fresh).values(values)).rowcount == 1


def _known(connection: Connection, school_id: str, login: str) -> Account:
    account = by_login(connection, school_id, login)
    if account is None:
        raise AccountError(f"there is no account {login.strip()!r}; run: schoolkeeper-collector account list")
    return account


def _link_person(connection: Connection, school_id: str, account_id: str, account_name: str) -> None:
    linked = connection.execute(
        update(people)
        .where(people.c.school_id == school_id, people.c.account_name == account_name)
        .values(account_id=account_id)
    )
    if linked.rowcount != 1:
        raise AccountError(
            f"{account_name!r} is not in the register of people; import it first: "
            f"schoolkeeper-collector people import FILE.csv"
        )


def _note(
    connection: Connection, school_id: str, actor: str, account_id: str, action: str, now_ms: int
) -> None:
    record_access(
        connection,
        school_id=school_id,
        account_id=actor,
        action=action,
        object_type="account",
        object_id=account_id.encode(),
        reason="",
        now_ms=now_ms,
    )


def _first_password() -> str:
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(stdlib_secrets.choice(letters) for _ in range(5)) for _ in range(4))


def _account(values: RowMapping) -> Account:
    return Account(
        account_id=values["account_id"],
        school_id=values["school_id"],
        login=values["login"],
        display_name=values["display_name"],
        role=Role(values["role"]),
        email=values["email"],
        password_hash=values["password_hash"],
        sealed_second_factor=values["totp_secret"],
        second_factor_since_ms=values["totp_confirmed_ms"],
        must_change_password=values["must_change_password"],
        disabled_ms=values["disabled_ms"],
    )
