"""The main ways of the console on both engines: what SQLite forgives (types, bytes, booleans) is met on PostgreSQL."""

from pathlib import Path

import pytest

from schoolkeeper_collector.console import accounts, registers
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.commands import pseudonym_of
from support.alerts import add_alert
from support.console import KEY, SCHOOL, Clock, add_account, new_bench, pass_password, post, store_at
from support.stores import ENGINES, StoreUrls


@pytest.mark.parametrize("engine", ENGINES)
def test_the_main_ways(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    urls = StoreUrls.of(engine, tmp_path, request)
    store = store_at(urls.store, urls.keystore)
    try:
        bench = new_bench(store, Clock())
        with store.write() as connection:
            registers.store_assets(
                connection, SCHOOL, registers.read_assets(b"asset_tag,serial\nW1,S1\n", "a.csv"), now_ms=1
            )
            registers.store_people(
                connection,
                SCHOOL,
                registers.read_people(b"account_name,kind,display_name\nrowan,pupil,Rowan\n", "p.csv"),
                pseudonym_of=lambda account: pseudonym_of(KEY, account),
                now_ms=1,
            )
            item = add_alert(
                connection, "Tor Browser was refused", at_ms=bench.clock(), subject=pseudonym_of(KEY, "rowan")
            ).hex()
        with pytest.raises(accounts.AccountError, match="is there already"):
            add_account(store, "dsl", Role.DSL, 1)
        assert pass_password(bench.client(), "dsl", "wrong horse").status_code == 422
        client = bench.signed_in(Role.DSL)
        assert "Rowan" in client.get("/").text
        assert post(client, f"/alerts/{item}/verdict", verdict="raised").status_code == 303
        assert post(client, f"/alerts/{item}/undo").status_code == 303
        assert post(client, f"/alerts/{item}/notes", note="Seen.").status_code == 303
        assert "Seen." in client.get(f"/alerts/{item}").text
        assert client.get("/incidents").status_code == 200
        technician = bench.signed_in(Role.TECHNICIAN)
        assert "W1" in technician.get("/").text
        assert technician.get("/devices").status_code == 200
        assert technician.get("/collector").status_code == 200
        assert post(client, "/sign-out").status_code == 303
    finally:
        store.close()
