"""The page of changes that wait: what it shows, what it hands out, what it takes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store.tables import access_log
from schoolkeeper_policies.officer import signing
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.review import review
from schoolkeeper_policies.officer.staged import unpack, write_answer
from schoolkeeper_proto import trust
from support.console import OWN_PAGE, SECOND_FACTOR, Bench, new_bench, pass_password, post
from support.officers import pack_with, publish, reasons, stage_pack
from support.school import School, wall_ms


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    yield made
    made.close()


@pytest.fixture
def bench(school: School) -> Bench:
    return new_bench(school.store, wall_ms, state_dir=school.folder)


def signed_by(school: School, name: str, change: bytes) -> bytes:
    """What `schoolkeeper-officer sign` makes of the downloaded file."""
    staged, keys = unpack(change, "change"), school.officer(name)
    seen = review(staged, Memory(root_sha256=keys.root_sha256), wall_ms())
    return write_answer(signing.sign_reviewed(staged, seen, keys).answer)


def hand_in(client: TestClient, data: bytes) -> httpx2.Response:
    answer: httpx2.Response = client.post(
        "/changes/signatures", files={"file": ("x.sksigned", data)}, headers=OWN_PAGE
    )
    return answer


@pytest.mark.requirement("W-17")
def test_signatures_go_out_and_come_back_until_it_is_complete(
    school: School, bench: Bench, tmp_path: Path
) -> None:
    client = sign_in(bench, Role.DSL)
    assert "No change waits." in client.get("/changes").text
    stage_pack(school, pack_with(tmp_path, "enforce"))
    page = client.get("/changes").text
    assert "tests.minefield" in page
    assert "Missing: a safeguarding officer (dsl, head)." in page
    change = client.get("/changes/file")
    assert change.headers["content-disposition"] == 'attachment; filename="change-2.skchange"'
    assert hand_in(client, signed_by(school, "dsl", change.content)).status_code == 303
    assert "Missing: a technical officer" in client.get("/changes").text
    hand_in(client, signed_by(school, "technician", change.content))
    assert "schoolkeeper-collector publish" in client.get("/changes").text
    with school.store.read() as connection:
        rows = connection.execute(
            select(access_log.c.reason).where(access_log.c.action == "policy.signatures-added")
        )
        assert [row.reason for row in rows] == ["dsl", "dsl, technician"]


def test_what_is_no_good_signature_is_refused_with_the_reason(
    school: School, bench: Bench, tmp_path: Path
) -> None:
    client = sign_in(bench, Role.TECHNICIAN)
    stage_pack(school, pack_with(tmp_path, "enforce"))
    change = client.get("/changes/file").content
    answer = signed_by(school, "dsl", change)
    sig = signing.answer_of(unpack(change, "x"), school.school_id)
    assert sig.targets_signatures == ()
    other = answer.replace(b'"sig": "', b'"sig": "00', 1)
    for data, said in (
        (b"{}", "signatures (.sksigned); it looks like a JSON file of another kind"),
        (other, "is not valid for this change"),
        (answer.replace(school.school_id.encode(), b"tai.example"), "is of the school"),
        (b"\xff\xfe", ""),
    ):
        refused = hand_in(client, data)
        assert refused.status_code in {400, 422}
        assert said in refused.text.replace("&#39;", "'")
    stage_pack(school, pack_with(tmp_path / "again", "enforce"))
    late = hand_in(client, answer)
    assert "over another change" in late.text
    targets = (school.folder / "trust" / "staged" / "targets.json").read_bytes()
    root = trust.read_root(school.repository.root_chain()[-1])
    assert trust.signers(targets, root.keys, root.roles["targets"]) == frozenset()


@pytest.mark.requirement("W-77")
def test_the_change_log_says_who_why_before_and_after(school: School, bench: Bench, tmp_path: Path) -> None:
    publish(school, stage_pack(school, pack_with(tmp_path, "enforce")), "technician", "dsl")
    publish(
        school, stage_pack(school, pack_with(tmp_path, "observe"), reasons()), "technician", "dsl", "head"
    )
    text = sign_in(bench, Role.HEAD).get("/changes").text.replace("&#39;", "'")
    for said in (
        "A project of year 6.",
        "tests.minefield: weaker",
        "before: enforce block",
        "after: observe",
    ):
        assert said in text
    for said in (
        "Technical risk assessment, technician",
        "Educational risk assessment, dsl",
        "consent, head",
    ):
        assert said in text


def test_a_form_may_carry_a_file_only_where_the_table_says_so(bench: Bench) -> None:
    client = sign_in(bench, Role.TECHNICIAN)
    answer = client.post("/incidents/new", files={"file": ("x", b"x")}, headers=OWN_PAGE)
    assert answer.status_code == 400


def sign_in(bench: Bench, role: Role) -> TestClient:
    """As ``Bench.signed_in``, on the true clock."""
    client = bench.client()
    pass_password(client, role.value)
    post(client, "/sign-in/code", code=secrets.code_at(SECOND_FACTOR, bench.clock()))
    return client
