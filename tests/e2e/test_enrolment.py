"""Enrolment, renewal and revocation between a real agent and a real collector over TLS on loopback."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest
from sqlalchemy import select

from schoolkeeper_agent.enrol import EnrolError
from schoolkeeper_agent.identity import Identity, is_due, load_identity, pem_of, split_chain
from schoolkeeper_agent.net import UPLINK, fetch_from, open_channel
from schoolkeeper_agent.renew import RenewError, renew, school_time
from schoolkeeper_agent.trust import load_trust, update_trust
from schoolkeeper_collector.devices import fleet
from schoolkeeper_collector.devices import tokens as token_store
from schoolkeeper_collector.store.tables import collector_facts, devices, ledger_queue, tokens
from schoolkeeper_proto import enrolment_token, wire
from schoolkeeper_proto.codec import decode, encode
from support.school import DAY_MS, GROUP, HOUR_MS, OTHER_GROUP, School, enrol_device, listening, wall_ms

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    yield made
    made.close()


async def refused(school: School, state_dir: Path, token: str, **more: object) -> EnrolError:
    with pytest.raises(EnrolError) as caught:
        await enrol_device(school, state_dir, token, **more)  # type: ignore[arg-type]
    assert load_identity(state_dir) is None, "a refusal leaves no identity behind"
    return caught.value


async def first_answers(identity: Identity, address: str, count: int) -> list[wire.CollectorBody | None]:
    """Opens the device's stream and reads up to ``count`` messages."""
    found: list[wire.CollectorBody | None] = []
    async with open_channel(address, identity.ca_pem, identity, None) as channel:
        call = channel.stream_stream(
            f"{UPLINK}/Connect",
            request_serializer=encode,
            response_deserializer=partial(decode, wire.CollectorMessage),
        )()
        while len(found) < count:
            message = await asyncio.wait_for(call.read(), 60)
            if not isinstance(message, wire.CollectorMessage):
                break
            found.append(message.body)
        call.cancel()
    return found


def test_a_token_becomes_an_identity_and_a_verified_policy(school: School, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"

    async def scenario() -> None:
        async with listening(school) as listeners:
            result = await enrol_device(school, laptop, school.token())
            identity = result.identity
            assert (identity.school_id, identity.group) == (school.school_id, GROUP)
            assert identity.not_after_ms - wall_ms() == pytest.approx(7 * DAY_MS, abs=HOUR_MS)
            trust = load_trust(laptop)
            assert trust is not None
            assert trust.key_statement.uplink_addresses[0] == school.uplink_address
            assert trust.stale_since(wall_ms()) is None
            assert trust.group == GROUP
            hello = await first_answers(identity, school.uplink_address, 1)
            assert hello == [wire.HeartbeatReply(checkpoint=identity.device_id.hex())]
            await asyncio.sleep(0.1)
            await asyncio.to_thread(listeners.service.publish)
            assert school.repository.group_map().assignments[0].device_id == identity.device_id
            async with open_channel(school.uplink_address, identity.ca_pem, identity, None) as channel:
                update = await update_trust(laptop, fetch_from(channel), now_ms=wall_ms())
            assert (update.changed, update.refused) == (True, "")

    asyncio.run(scenario())
    assert stat.S_IMODE((laptop / "identity" / "device.key").stat().st_mode) == 0o600
    with school.store.read() as connection:
        assert connection.execute(select(ledger_queue.c.queue_no)).fetchall(), "an enrolment is in the ledger"
        stored = connection.execute(select(tokens.c.secret_hash, tokens.c.uses)).one()
    assert stored.uses == 1
    private = (laptop / "identity" / "device.key").read_bytes()
    assert private not in b"".join(p.read_bytes() for p in school.folder.rglob("*") if p.is_file())


def test_wrong_spent_expired_and_revoked_tokens_are_named_with_a_remedy(
    school: School, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with listening(school):
            good = school.token(uses=1)
            typed = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
            assert (await refused(school, tmp_path / "a", typed)).reason == "token-malformed"
            await enrol_device(school, tmp_path / "first", good)
            spent = await refused(school, tmp_path / "b", good)
            assert (spent.reason, "token create" in str(spent)) == ("token-spent", True)
            short = school.token(lifetime_ms=1)
            assert (await refused(school, tmp_path / "c", short)).reason == "token-expired"
            ended = school.token()
            with school.store.write() as connection:
                token_store.revoke_token(
                    connection,
                    school_id=school.school_id,
                    token_id=enrolment_token.parse(ended).token_id,
                    actor="test",
                    now_ms=wall_ms(),
                )
            assert (await refused(school, tmp_path / "d", ended)).reason == "token-revoked"

    asyncio.run(scenario())


def test_a_token_of_another_school_is_found_before_it_is_sent(school: School, tmp_path: Path) -> None:
    other = School(tmp_path / "other", school_id="tai.example")

    async def scenario() -> None:
        async with listening(school):
            error = await refused(school, tmp_path / "laptop", other.token())
            assert error.reason == "wrong-school"

    asyncio.run(scenario())
    other.close()


def test_guessing_is_slowed_down(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(school):
            token = enrolment_token.parse(school.token(uses=5))
            wrong = replace(token, secret=bytes(20)).text()
            reasons = [(await refused(school, tmp_path / "thief", wrong)).reason for _ in range(21)]
            assert reasons[:20] == ["token-unknown"] * 20
            assert reasons[20] == "too-many-attempts"

    asyncio.run(scenario())


def test_a_lost_answer_is_asked_for_again_and_is_the_same_device(school: School, tmp_path: Path) -> None:
    """The clock check refuses after the collector has spoken: the token is spent, the device exists."""
    laptop = tmp_path / "laptop"

    async def scenario() -> None:
        school.clock_off_ms = -3 * 365 * DAY_MS
        school.repository.refresh(school.keys.online, school.now_ms(), force=True)
        async with listening(school):
            token = school.token(uses=1)
            first = await refused(school, laptop, token, serial="PF-1")
            assert first.reason == "clock-off"
            assert "3.0 years ahead" in str(first)
            assert "timedatectl" in first.remedy
            result = await enrol_device(school, laptop, token, serial="PF-1", accept_clock=True)
            assert result.clock_off_ms == pytest.approx(3 * 365 * DAY_MS, abs=HOUR_MS)

    asyncio.run(scenario())
    with school.store.read() as connection:
        assert len(connection.execute(select(devices.c.device_id)).all()) == 1


def test_a_certificate_renews_itself_also_after_its_end(school: School, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"

    async def scenario() -> None:
        school.clock_off_ms = -60 * DAY_MS
        async with listening(school):
            old = (await enrol_device(school, laptop, school.token(), accept_clock=True)).identity
        assert old.not_after_ms < wall_ms() - 50 * DAY_MS
        assert is_due(old, wall_ms())
        school.clock_off_ms = 0
        async with listening(school):
            with pytest.raises(grpc.aio.AioRpcError):
                await first_answers(old, school.uplink_address, 1)
            # A device whose clock died asks with a time of decades ago.
            new = await renew(laptop, old, [school.enrol_address], proxy=None, now_ms=0)
            assert new.device_id == old.device_id
            assert new.signer.key_id == old.signer.key_id
            assert new.not_after_ms > wall_ms() + 6 * DAY_MS
            assert await first_answers(new, school.uplink_address, 1)

    asyncio.run(scenario())


def test_no_renewal_after_400_days_or_without_the_key(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(school):
            laptop = tmp_path / "laptop"
            identity = (await enrol_device(school, laptop, school.token(uses=2))).identity
            thief = (await enrol_device(school, tmp_path / "thief", school.token(uses=2))).identity
            stolen = split_chain(identity.chain_pem)[0]
            forged = replace(
                thief, chain_pem=pem_of(stolen) + thief.ca_pem, certificate_hash=identity.certificate_hash
            )
            with pytest.raises(RenewError) as caught:
                await renew(tmp_path / "thief", forged, [school.enrol_address], proxy=None, now_ms=wall_ms())
            assert caught.value.reason == "unknown-certificate"
            school.clock_off_ms = 408 * DAY_MS
            with pytest.raises(RenewError) as caught:
                await renew(laptop, identity, [school.enrol_address], proxy=None, now_ms=wall_ms())
            assert (caught.value.reason, caught.value.final) == ("too-old", True)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_an_open_stream_ends_when_its_certificate_does(school: School, tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with listening(school):
            identity = (await enrol_device(school, tmp_path / "laptop", school.token())).identity
            reading = asyncio.create_task(first_answers(identity, school.uplink_address, 2))
            await asyncio.sleep(0.5)
            assert not reading.done()
            if how == "expired":
                school.clock_off_ms = 8 * DAY_MS
            else:
                with school.store.write() as connection:
                    fleet.revoke(
                        connection,
                        school_id=school.school_id,
                        device_id=identity.device_id,
                        actor="test",
                        reason="lost",
                        now_ms=wall_ms(),
                    )
            answers = await asyncio.wait_for(reading, 60)
            assert isinstance(answers[1], wire.Goodbye)
            assert answers[1].reason == how
            if how == "revoked":
                with pytest.raises(RenewError) as caught:
                    await renew(
                        tmp_path / "laptop", identity, [school.enrol_address], proxy=None, now_ms=wall_ms()
                    )
                assert (caught.value.reason, caught.value.final) == ("revoked", True)

    asyncio.run(scenario())


def test_a_known_serial_is_a_new_device_until_a_technician_joins_the_two(
    school: School, tmp_path: Path
) -> None:
    async def scenario() -> tuple[bytes, bytes]:
        async with listening(school):
            token = school.token(uses=2)
            first = await enrol_device(school, tmp_path / "before", token, serial="PF-1")
            second = await enrol_device(school, tmp_path / "after", token, serial="PF-1")
            return first.identity.device_id, second.identity.device_id

    old, new = asyncio.run(scenario())
    assert old != new
    with school.store.write() as connection:
        assert (
            connection.execute(select(devices.c.same_serial_as).where(devices.c.device_id == new)).scalar()
            == old
        )
        fleet.join(connection, school_id=school.school_id, old=old, new=new, actor="test", now_ms=wall_ms())
    with school.store.read() as connection:
        row = connection.execute(
            select(devices.c.status, devices.c.joined_into).where(devices.c.device_id == old)
        ).one()
        assert (row.status, row.joined_into) == ("joined", new)
        assert fleet.active_groups(connection, school.school_id) == {new: GROUP}


@pytest.mark.requirement("W-17")
def test_a_known_machine_that_comes_again_under_weaker_rules_is_told_to_the_dsl(
    school: School, tmp_path: Path
) -> None:
    """A token names the group, and one person makes it; ending the old device first hides nothing."""

    def facts() -> list[tuple[str, dict[str, object]]]:
        with school.store.read() as connection:
            rows = connection.execute(select(collector_facts.c.kind, collector_facts.c.fields)).all()
        return [(row.kind, json.loads(row.fields)) for row in rows]

    async def scenario() -> None:
        async with listening(school):
            first = await enrol_device(school, tmp_path / "a", school.token(), serial="PF-2")
            with school.store.write() as connection:
                fleet.revoke(
                    connection,
                    school_id=school.school_id,
                    device_id=first.identity.device_id,
                    actor="test",
                    reason="sold",
                    now_ms=wall_ms(),
                )
            await enrol_device(school, tmp_path / "b", school.token(group=OTHER_GROUP), serial="PF-2")
            assert facts() == [("device.weaker_group", {"from_group": GROUP, "to_group": OTHER_GROUP})]
            await enrol_device(school, tmp_path / "c", school.token(), serial="PF-2")
            assert len(facts()) == 1, "the way back is no loosening"

    asyncio.run(scenario())


def test_the_school_tells_its_signed_time_without_a_certificate(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(school):
            identity = (await enrol_device(school, tmp_path / "laptop", school.token())).identity
            trust = load_trust(tmp_path / "laptop")
            assert trust is not None
            time = await school_time(identity, trust, ["127.0.0.1:1", school.enrol_address], proxy=None)
            assert time == pytest.approx(wall_ms(), abs=10_000)

    asyncio.run(scenario())


def test_enrolling_again_is_a_new_device_and_needs_to_be_said(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(school):
            token = school.token(uses=2)
            laptop = tmp_path / "laptop"
            first = await enrol_device(school, laptop, token)
            with pytest.raises(EnrolError) as caught:
                await enrol_device(school, laptop, token)
            assert caught.value.reason == "enrolled-already"
            second = await enrol_device(school, laptop, token, again=True)
            assert second.identity.device_id != first.identity.device_id
            assert second.identity.signer.key_id != first.identity.signer.key_id
            assert load_trust(laptop) is not None

    asyncio.run(scenario())
