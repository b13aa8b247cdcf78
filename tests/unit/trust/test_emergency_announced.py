"""An emergency block is told to the other officers: by e-mail and on the console, until it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.devices import announcing, grants
from schoolkeeper_collector.incidents.notices import Outbox
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.store.tables import accounts, notices
from schoolkeeper_policies.officer import grants as officer_grants
from schoolkeeper_policies.officer import school as officer_school
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.staged import unpack
from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.console import new_bench
from support.school import GROUP, School, wall_ms


@pytest.fixture
def made(tmp_path: Path) -> Iterator[School]:
    found = School(tmp_path / "collector")
    yield found
    found.close()


class Box:
    """A mailer that keeps what it was given."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    def send(self, message) -> None:  # type: ignore[no-untyped-def]
        self.taken.append((message["To"], message.get_content()))


def block(made: School) -> bytes:
    keys = made.officer("technician")
    found = officer_school.read_school(
        unpack(staging.school_file(made.folder), "x"), Memory(root_sha256=keys.root_sha256)
    )
    wish = officer_grants.Wish(
        kind=GrantKind.EMERGENCY_BLOCK,
        reason="A new VPN since nine.",
        seconds=86_400,
        groups=(GROUP,),
        blocks=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="newvpn"),),
        sites=("vpn.example",),
    )
    now = wall_ms()
    looked = officer_grants.look(encode(officer_grants.make(wish, found, now)), found, now)
    return encode(officer_grants.sign(looked, keys, found, now).grant)


def test_one_officers_block_is_told_to_the_others_and_shown_until_it_ends(made: School) -> None:
    bench = new_bench(made.store, wall_ms, state_dir=made.folder)
    with made.store.write() as connection:
        for role in Role:
            connection.execute(
                update(accounts)
                .where(accounts.c.login == role.value)
                .values(email=f"{role.value}@school.example")
            )
        beside = grants.beside(made.repository, made.school_id)
        said = grants.publish(connection, beside, block(made), wall_ms())
    box = Box()
    outbox = Outbox(
        made.store, made.school_id, box, sender="sk@school.example", console_url="https://sk.example"
    )
    assert outbox.step(wall_ms()) == 3
    told = (Role.DSL, Role.HEAD, Role.TECHNICIAN)
    assert {to for to, _ in box.taken} == {f"{role.value}@school.example" for role in told}
    assert all(
        "https://sk.example/changes" in text and "newvpn" not in text and "vpn.example" not in text
        for _, text in box.taken
    )
    with made.store.read() as connection:
        assert connection.execute(select(notices.c.sent_ms)).scalars().all().count(None) == 0
        live = announcing.live_blocks(connection, made.school_id, wall_ms())
        assert [(one.blocked, one.groups) for one in live] == [(("newvpn", "vpn.example"), (GROUP,))]
        assert announcing.live_blocks(connection, made.school_id, said.expires_unix_ms) == ()
    from schoolkeeper_collector.console import secrets
    from support.console import SECOND_FACTOR, pass_password, post

    for role in (Role.DSL, Role.TECHNICIAN):
        client = bench.client()
        pass_password(client, role.value)
        post(client, "/sign-in/code", code=secrets.code_at(SECOND_FACTOR, wall_ms()))
        for path in ("/", "/changes"):
            page = client.get(path).text
            assert "Emergency block in force" in page
            assert "A new VPN since nine." in page
