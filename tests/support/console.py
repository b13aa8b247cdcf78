"""A console on databases of its own, with accounts whose second factor the test knows, and a client that signs in."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
import uvicorn
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.testclient import TestClient

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.accounts import NewAccount, create_account
from schoolkeeper_collector.console.app import create_app
from schoolkeeper_collector.console.call import Options
from schoolkeeper_collector.console.pages import rendering
from schoolkeeper_collector.console.words import Language, load_languages
from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_proto.statements import Signer
from support.detection import default_rules
from support.stores import migrated

SCHOOL = "westgate.example"
PASSWORD = "three random words"
SECOND_FACTOR = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
KEY = bytes(range(32))
OWN_PAGE = {"sec-fetch-site": "same-origin"}
MINUTE = 60_000


@dataclass
class Clock:
    """A clock in Unix ms that a test moves. It starts at a school morning: 2026-11-23 10:00 in London."""

    now_ms: int = 1_795_428_000_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Bench:
    """One school's console: store, application, clock and the three first accounts."""

    store: Store
    app: Starlette
    clock: Clock
    accounts: dict[Role, NewAccount] = field(default_factory=dict)

    def client(self) -> TestClient:
        """A browser without a session; it follows no redirect by itself."""
        return TestClient(self.app, base_url="http://testserver", follow_redirects=False)

    def signed_in(self, role: Role) -> TestClient:
        """A browser signed in as the first account of a role. The clock moves on: a code works once."""
        self.clock.now_ms += MINUTE
        client = self.client()
        pass_password(client, role.value)
        answer = post(client, "/sign-in/code", code=secrets.code_at(SECOND_FACTOR, self.clock.now_ms))
        assert answer.status_code == 303, answer.text
        return client


def post(
    client: TestClient, path: str, /, headers: dict[str, str] | None = None, **fields: str
) -> httpx2.Response:
    """Send a form the way a page of the console does."""
    answer: httpx2.Response = client.post(path, data=fields, headers=OWN_PAGE | (headers or {}))
    return answer


def pass_password(client: TestClient, login: str, password: str = PASSWORD) -> httpx2.Response:
    """Take the first of the two steps of a sign-in."""
    return post(client, "/sign-in", login=login, password=password)


def new_store(folder: Path) -> Store:
    """Two migrated SQLite databases with one school."""
    return store_at(f"sqlite:///{folder}/collector.db", f"sqlite:///{folder}/keystore.db")


def store_at(url: str, keys: str) -> Store:
    """The same wherever the two URLs point."""
    migrated(url, keys)
    store = open_store(url, keys)
    row = {
        "school_id": SCHOOL,
        "name": "Westgate",
        "generation": 1,
        "time_zone": "Europe/London",
        "created_ms": 0,
    }
    with store.write() as connection:
        connection.execute(insert(tables.schools).values(row))
    return store


@cache
def languages() -> dict[str, Language]:
    """The console's languages; reading their catalogues costs more than most tests."""
    return load_languages()


@cache
def password_hash() -> str:
    """The one password of every account: a hash is meant to be slow."""
    return secrets.hash_password(PASSWORD)


def new_bench(
    store: Store,
    clock: Any = None,
    *,
    secure: bool = False,
    state_dir: Path | None = None,
    lesson_signer: Signer | None = None,
    ledger_keys: tuple[bytes, ...] = (),
) -> Bench:
    """A console with one account per role: login and role have the same name."""
    clock = clock or Clock()
    options = Options(
        school_id=SCHOOL,
        school_name="Westgate",
        zone=ZoneInfo("Europe/London"),
        console_key=KEY,
        secure=secure,
        fixes={"updates": "Install the updates that wait."},
        state_dir=state_dir,
        lesson_signer=lesson_signer,
        ledger_keys=ledger_keys,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "load_languages", languages)
        app = create_app(options, store, CaseFile(store, default_rules()), clock=clock)
    bench = Bench(store=store, app=app, clock=clock)
    for role in Role:
        bench.accounts[role] = add_account(store, role.value, role, clock(), ready=True)
    return bench


def add_account(store: Store, login: str, role: Role, now_ms: int, **options: Any) -> NewAccount:
    """Another account with the password and second factor that the tests know."""
    made = password_hash()
    with pytest.MonkeyPatch.context() as patch, store.write() as connection:
        patch.setattr(secrets, "hash_password", lambda _: made)
        return create_account(
            connection,
            school_id=SCHOOL,
            login=login,
            display_name=login.title(),
            role=role,
            console_key=KEY,
            now_ms=now_ms,
            password=PASSWORD,
            second_factor=SECOND_FACTOR,
            **options,
        )


def text_of(page: str) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The application on a free loopback port, as the console's own process serves it; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, lifespan="off", log_level="warning", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the console did not start within a minute"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
