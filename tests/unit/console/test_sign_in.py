"""Signing in: two factors, limits that survive a restart, sessions that end."""

import pytest
from argon2 import Parameters, extract_parameters
from sqlalchemy import func, select

from schoolkeeper_collector.console import accounts, attempts, secrets, sessions
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from support.console import (
    KEY,
    MINUTE,
    PASSWORD,
    SCHOOL,
    SECOND_FACTOR,
    Bench,
    add_account,
    new_bench,
    pass_password,
    post,
    text_of,
)


def code(bench: Bench, step: int = 0) -> str:
    return secrets.code_at(SECOND_FACTOR, bench.clock.now_ms + step * 30_000)


def test_password_and_code_open_the_front_page(bench: Bench) -> None:
    client = bench.client()
    answer = pass_password(client, "dsl")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in/code")
    assert client.get("/").headers["location"] == "/sign-in/code", "a password alone opens nothing"
    answer = post(client, "/sign-in/code", code=code(bench))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/incidents/new").status_code == 200


def test_the_token_changes_at_each_step_and_only_its_hash_is_stored(bench: Bench) -> None:
    client = bench.client()
    pass_password(client, "dsl")
    first = client.cookies["schoolkeeper"]
    post(client, "/sign-in/code", code=code(bench))
    second = client.cookies["schoolkeeper"]
    assert first != second
    with bench.store.read() as connection:
        assert sessions.look_up(connection, first, bench.clock.now_ms) is None
        rows = connection.execute(select(tables.sessions)).mappings().all()
    assert [bytes(row["token_hash"]) for row in rows] == [secrets.token_hash(second)]
    assert second not in str(rows)


@pytest.mark.parametrize("login", ["dsl", "nobody"])
def test_a_wrong_password_says_the_same_for_known_and_unknown_names(bench: Bench, login: str) -> None:
    answer = pass_password(bench.client(), login, "wrong horse")
    assert answer.status_code == 422
    assert "do not belong together" in answer.text
    assert "schoolkeeper" not in answer.cookies


def test_an_unknown_name_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One argon2 computation of the same cost; seconds would tell of the machine, too."""
    computed: list[tuple[Parameters, str]] = []
    hasher = secrets._HASHER

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            computed.append((extract_parameters(stored), password))
            return hasher.verify(stored, password)

    monkeypatch.setattr(secrets, "_HASHER", Counting())
    stored = hasher.hash(PASSWORD)
    for known in (stored, None):
        assert not secrets.password_fits(known, "wrong horse")
    cost = extract_parameters(stored)
    assert computed == [(cost, "wrong horse")] * 2


def test_a_code_works_once(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    pass_password(first, "dsl")
    pass_password(second, "dsl")
    assert post(first, "/sign-in/code", code=code(bench)).status_code == 303
    assert post(second, "/sign-in/code", code=code(bench)).status_code == 422
    assert post(second, "/sign-in/code", code=code(bench, -1)).status_code == 422, (
        "an older step is spent too"
    )
    bench.clock.now_ms += 30_000
    assert post(second, "/sign-in/code", code=code(bench)).status_code == 303


def test_a_phone_may_be_one_step_off_and_not_two(bench: Bench) -> None:
    client = bench.client()
    pass_password(client, "dsl")
    assert post(client, "/sign-in/code", code=code(bench, 2)).status_code == 422
    assert post(client, "/sign-in/code", code=code(bench, 1)).status_code == 303


def test_wrong_passwords_are_limited_even_after_a_restart_and_not_from_elsewhere(bench: Bench) -> None:
    client = bench.client()
    most = attempts.for_password("dsl", "x")[0].most
    for _ in range(most):
        assert pass_password(client, "dsl", "wrong horse").status_code == 422
    refused = pass_password(client, "dsl")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "You can try again in" in refused.text
    with bench.store.write() as connection:  # the same name from another address
        limits = attempts.for_password("DSL ", "203.0.113.9")
        assert attempts.begin(connection, limits, console_key=KEY, now_ms=bench.clock.now_ms)
    again = new_app(bench)
    assert pass_password(again.client(), "dsl").status_code == 429
    bench.clock.now_ms += attempts.WINDOW_MS + 1
    assert pass_password(again.client(), "dsl").status_code == 303


def new_app(bench: Bench) -> Bench:
    with bench.store.write() as connection:
        connection.execute(tables.accounts.delete())
    return new_bench(bench.store, bench.clock)


def test_unknown_names_are_limited_like_known_ones(bench: Bench) -> None:
    client = bench.client()
    codes = [pass_password(client, "nobody", "wrong horse").status_code for _ in range(11)]
    assert codes == [422] * 10 + [429]


def test_wrong_codes_are_limited_for_the_account(bench: Bench) -> None:
    client = bench.client()
    pass_password(client, "head")
    codes = [post(client, "/sign-in/code", code="000000").status_code for _ in range(11)]
    assert codes == [422] * 10 + [429]
    assert post(client, "/sign-in/code", code=code(bench)).status_code == 429


def test_right_attempts_do_not_count(bench: Bench) -> None:
    for _ in range(12):
        bench.signed_in(Role.DSL)


def test_first_sign_in_sets_up_the_second_factor_and_a_password_of_ones_own(bench: Bench) -> None:
    add_account(bench.store, "deputy", Role.DSL, bench.clock.now_ms)
    client = bench.client()
    assert pass_password(client, "deputy").headers["location"] == "/sign-in/set-up"
    assert client.get("/sign-in/code").headers["location"] == "/sign-in/set-up"
    page = client.get("/sign-in/set-up").text
    assert "JBSW Y3DP EHPK 3PXP" in page
    picture = client.get("/sign-in/set-up/key.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in picture.content
    assert post(client, "/sign-in/set-up", code="000000").status_code == 422
    assert post(client, "/sign-in/set-up", code=code(bench)).headers["location"] == "/password"
    assert client.get("/").headers["location"] == "/password", "the given password opens nothing else"
    assert client.get("/sign-in/set-up/key.svg").status_code == 303, "the key is never shown again"
    fields = {"old": PASSWORD, "new": "four other random words", "again": "four other random words"}
    assert post(client, "/password", **(fields | {"old": "wrong"})).status_code == 422
    assert post(client, "/password", **(fields | {"again": "different words"})).status_code == 422
    assert post(client, "/password", **(fields | {"new": "short", "again": "short"})).status_code == 422
    assert post(client, "/password", **(fields | {"new": PASSWORD, "again": PASSWORD})).status_code == 422
    assert post(client, "/password", **fields).headers["location"] == "/"
    assert client.get("/incidents/new").status_code == 200
    assert pass_password(bench.client(), "deputy").status_code == 422
    assert pass_password(bench.client(), "deputy", "four other random words").status_code == 303


def test_a_new_password_ends_the_other_sessions(bench: Bench) -> None:
    here, elsewhere = bench.signed_in(Role.DSL), bench.signed_in(Role.DSL)
    words = "four other random words"
    assert post(here, "/password", old=PASSWORD, new=words, again=words).status_code == 303
    assert here.get("/incidents/new").status_code == 200
    assert elsewhere.get("/incidents/new").headers["location"].startswith("/sign-in")


def test_a_session_ends_when_idle_and_after_a_school_day(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    bench.clock.now_ms += sessions.IDLE_MS - MINUTE
    assert client.get("/incidents/new").status_code == 200
    bench.clock.now_ms += sessions.IDLE_MS - MINUTE
    assert client.get("/incidents/new").status_code == 200, "a page that was asked for keeps it alive"
    bench.clock.now_ms += sessions.IDLE_MS
    assert client.get("/incidents/new").headers["location"] == "/sign-in?next=/incidents/new"
    client = bench.signed_in(Role.DSL)
    for _ in range(30):
        bench.clock.now_ms += 25 * MINUTE
        ended = client.get("/incidents/new").status_code == 303
    assert ended


def test_a_live_update_keeps_no_session_alive(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    for _ in range(4):
        bench.clock.now_ms += sessions.IDLE_MS // 3
        last = client.get("/queue").status_code
    assert last == 401


def test_signing_out_ends_the_session_on_the_server(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    token = client.cookies["schoolkeeper"]
    answer = post(client, "/sign-out")
    assert answer.headers["location"] == "/sign-in?out=1"
    assert "You have signed out" in client.get("/sign-in?out=1").text
    client.cookies["schoolkeeper"] = token
    assert client.get("/incidents/new").headers["location"].startswith("/sign-in")


def test_disabling_ends_every_session_and_resetting_asks_for_everything_anew(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    with bench.store.write() as connection:
        accounts.disable_account(connection, school_id=SCHOOL, login="dsl", now_ms=bench.clock.now_ms)
    assert client.get("/incidents/new").status_code == 303
    assert pass_password(bench.client(), "dsl").status_code == 422
    with bench.store.write() as connection:
        made = accounts.reset_account(
            connection, school_id=SCHOOL, login="dsl", console_key=KEY, now_ms=bench.clock.now_ms
        )
    assert pass_password(bench.client(), "dsl").status_code == 422, "the old password"
    assert pass_password(bench.client(), "dsl", made.password).headers["location"] == "/sign-in/set-up"


def test_acts_on_accounts_are_in_the_log(bench: Bench) -> None:
    with bench.store.write() as connection:
        accounts.disable_account(connection, school_id=SCHOOL, login="dsl", now_ms=1, actor="shell:tom")
    log, queue = tables.access_log, tables.ledger_queue
    with bench.store.read() as connection:
        row = connection.execute(select(log).order_by(log.c.access_no.desc())).first()
        queued = connection.execute(select(func.count()).select_from(queue)).scalar_one()
    assert row is not None
    assert (row.account_id, row.action, row.object_type) == ("shell:tom", "account.disabled", "account")
    assert queued == len(Role) + 1, "each account that was made, and this act"


def test_after_sign_in_the_page_that_was_asked_for_opens_and_never_another_site(bench: Bench) -> None:
    for wanted, landed in (
        ("/incidents", "/incidents"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
    ):
        bench.clock.now_ms += MINUTE
        client = bench.client()
        first = post(client, "/sign-in", login="dsl", password=PASSWORD, next=wanted)
        last = post(client, first.headers["location"], code=code(bench))
        assert last.headers["location"] == landed


def test_a_stored_second_factor_belongs_to_its_account_and_key(store: Store) -> None:
    sealed = secrets.seal(SECOND_FACTOR, account_id="a", console_key=KEY)
    assert secrets.open_sealed(sealed, account_id="a", console_key=KEY) == SECOND_FACTOR
    for account, key in (("b", KEY), ("a", bytes(32))):
        with pytest.raises(secrets.SecretError, match="account reset"):
            secrets.open_sealed(sealed, account_id=account, console_key=key)
    made = add_account(store, "x1", Role.HEAD, 1)
    with store.read() as connection:
        row = connection.execute(select(tables.accounts)).mappings().one()
    assert SECOND_FACTOR not in str(dict(row))
    assert PASSWORD not in str(dict(row))
    assert PASSWORD not in repr(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"login": "a b"}, "cannot be a sign-in name"),
        ({"login": "dsl"}, "account reset dsl"),
        ({"display_name": " "}, "pass --name"),
        ({"password": "short"}, "at least 12"),
        ({"second_factor": "short"}, "base 32"),
        ({"person_account_name": "nobody"}, "people import"),
    ],
)
def test_an_account_that_cannot_be_made_says_why(bench: Bench, options: dict[str, str], message: str) -> None:
    given = {"login": "newcomer", "display_name": "New", **options}
    with pytest.raises(accounts.AccountError, match=message), bench.store.write() as connection:
        accounts.create_account(
            connection, school_id=SCHOOL, role=Role.DSL, console_key=KEY, now_ms=1, **given
        )
    with bench.store.read() as connection:
        assert accounts.by_login(connection, SCHOOL, "newcomer") is None


def test_a_guessable_password_is_refused_with_advice() -> None:
    for bad in ("short", "aaaaaaaaaaaaaaa", "this-is-dsl-lead-1", "x" * 300):
        assert secrets.password_fault(bad, "dsl-lead")
    assert not secrets.password_fault(PASSWORD, "dsl-lead")


def test_texts_of_a_failed_sign_in_are_announced(bench: Bench) -> None:
    page = pass_password(bench.client(), "dsl", "wrong horse").text
    assert 'role="alert"' in page
    assert page.index("<title>Error:") > 0
    assert "There is a problem" in text_of(page)
