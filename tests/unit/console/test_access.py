"""Every route with every role, without one, and half signed in: what is not in the table is not served."""

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from schoolkeeper_collector.console.access import RIGHTS, Right, Role, Stage
from support.console import OWN_PAGE, Bench, pass_password

NOT_THERE = "ab" * 16
# What each route is asked for; nothing of it exists, so that nobody is refused for another reason than the table's.
PLACES = {"item": NOT_THERE, "path": "console.css", "event": "1"}
WALKED = [right for right in RIGHTS if right.name != "live"]


def ask(client: TestClient, right: Right, method: str) -> int:
    path = right.path.replace("{path:path}", PLACES["path"]).replace("{item}", PLACES["item"])
    path = path.replace("{event}", PLACES["event"])
    return int(client.request(method, path, headers=OWN_PAGE).status_code)


def test_the_application_serves_exactly_the_table(bench: Bench) -> None:
    served = {(route.name, route.path) for route in bench.app.routes if isinstance(route, Route)}
    assert served == {(right.name, right.path) for right in RIGHTS}


@pytest.mark.parametrize("right", WALKED, ids=lambda right: right.name)
def test_without_a_sign_in_only_what_is_for_anyone(bench: Bench, right: Right) -> None:
    for method in right.methods:
        status = ask(bench.client(), right, method)
        if Stage.ANONYMOUS in right.stages:
            assert status in {200, 303, 422}
        else:
            assert status == (401 if right.live else 303)


@pytest.mark.parametrize("right", WALKED, ids=lambda right: right.name)
def test_a_password_alone_opens_nothing_of_the_school(bench: Bench, right: Right) -> None:
    for method in right.methods:
        client = bench.client()
        pass_password(client, "dsl")
        status = ask(client, right, method)
        if Stage.CODE in right.stages:
            assert status in {200, 303, 404, 422}
        else:
            assert status == (401 if right.live else 303)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_reaches_its_own_routes_and_no_other(bench: Bench, role: Role) -> None:
    client = bench.signed_in(role)
    for right in WALKED:
        if right.name == "sign-out":
            continue
        for method in right.methods:
            status = ask(client, right, method)
            if Stage.SIGNED_IN not in right.stages:
                assert status == 303, right.name
            elif right.roles and role not in right.roles:
                assert status == 403, right.name
            else:
                assert status in {200, 303, 404, 422}, right.name
                assert status != 404 or "{item}" in right.path, right.name


def test_each_role_has_pages_and_no_page_of_another() -> None:
    pages = {
        role: {right.name for right in RIGHTS if role in right.roles and Stage.SIGNED_IN in right.stages}
        for role in Role
    }
    assert pages[Role.DSL] == pages[Role.HEAD]
    assert pages[Role.TECHNICIAN] & {"incidents", "incident", "incident-note"} == set()
    assert pages[Role.DSL] & {"devices", "device", "health"} == set()


def test_a_route_of_a_role_says_that_it_is_for_another(bench: Bench) -> None:
    answer = bench.signed_in(Role.TECHNICIAN).get("/incidents")
    assert answer.status_code == 403
    assert "This page is for another role" in answer.text


@pytest.mark.parametrize("item", ["x", NOT_THERE[:-1], NOT_THERE.upper(), NOT_THERE + "00", "%00"])
def test_an_item_that_cannot_be_is_like_one_that_is_not_there(bench: Bench, item: str) -> None:
    client = bench.signed_in(Role.DSL)
    assert client.get(f"/alerts/{item}").text == client.get(f"/alerts/{NOT_THERE}").text
