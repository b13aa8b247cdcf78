"""The uplink listener over gRPC with mutual TLS: greeting, delivery, limits, clones, revocation, directives, ends."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import insert, select

from schoolkeeper_collector.ingest import service as service_module
from schoolkeeper_collector.ingest.greeting import Terms
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.collector import TestSchool, sqlite_store
from support.device import NOW_MS, DeviceIdentity, SimulatedDevice, Uplink, started
from support.patience import eventually
from support.uplink import running_uplink

SCHOOL = TestSchool()
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = sqlite_store(tmp_path)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def _quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "_SWEEP_SECONDS", 0.1)


async def until_goodbye(uplink: Uplink) -> wire.Goodbye:
    async with asyncio.timeout(60):
        while True:
            body = await uplink.receive()
            assert body is not None, "the stream ended without a word"
            if isinstance(body, wire.Goodbye):
                return body


async def test_devices_deliver_over_mutual_tls(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        devices = [running.device() for _ in range(4)]

        async def one(device: SimulatedDevice) -> None:
            async with running.uplink(device) as uplink:
                assert isinstance(await uplink.connect(), wire.Welcome)
                for _ in range(30):
                    device.record([started()] * 10)
                    device.record([started()], Lane.CRITICAL)
                await uplink.deliver(max_frames=7)

        await asyncio.gather(*(one(device) for device in devices))
        assert [device.stored for device in devices] == [330] * 4
        assert running.collector.totals()["rows"] == 1320
        assert running.collector.fsck() == []


async def test_a_certificate_of_another_authority_ends_in_the_handshake(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        stranger = SimulatedDevice(DeviceIdentity.issued(SCHOOL.school_id), SCHOOL.pins)
        async with running.uplink(stranger) as uplink:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await uplink.connect()
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("version", "welcome"),
    [((1, 0), True), ((1, 1), True), ((1, 2), False), ((2, 0), False), ((0, 0), False)],
)
async def test_one_minor_version_around_ours_is_accepted(
    store: Store, version: tuple[int, int], *, welcome: bool
) -> None:
    async with running_uplink(store, SCHOOL) as running, running.uplink(running.device()) as uplink:
        first = await uplink.connect(version=wire.WireVersion(major=version[0], minor=version[1]))
        if welcome:
            assert isinstance(first, wire.Welcome)
        else:
            assert isinstance(first, wire.Goodbye)
            assert first.reason == "version"
            assert "update the" in first.remedy
            assert "the spool keeps everything" in first.remedy


NOISE = {
    "garbage": b"\xff" * 50,
    "nothing": b"",
    "a batch first": encode(
        wire.DeviceMessage(body=wire.Batch(statement=b"", signature=b"", segments=(), frames=(), number=1))
    ),
}


@pytest.mark.parametrize("noise", NOISE)
async def test_what_is_no_hello_ends_the_stream_with_words(store: Store, noise: str) -> None:
    async with running_uplink(store, SCHOOL) as running, running.uplink(running.device()) as uplink:
        uplink.call = uplink._connect()
        await uplink.send_bytes(NOISE[noise])
        goodbye = await until_goodbye(uplink)
        assert goodbye.reason == "protocol"
        assert await uplink.receive() is None
        assert running.service.open_streams == 0


async def test_a_message_of_more_than_four_mebibytes_harms_nobody_else(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        other = running.device()
        async with running.uplink(running.device()) as uplink, running.uplink(other) as quiet:
            await quiet.connect()
            await uplink.connect()
            await uplink.send_bytes(os.urandom(5 << 20))
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await uplink.receive()
            assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            other.record([started()])
            await quiet.deliver()
        assert other.stored == 1


async def test_batches_that_cannot_be_attributed_end_the_stream_after_the_third(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            kept = [device.record([started()])]
            for _ in range(3):
                device.waiting = list(kept)
                await uplink.send(device.cut(school_id="other.example"))
            goodbye = await until_goodbye(uplink)
            assert goodbye.reason == "protocol"
            assert "other.example" in goodbye.remedy
        device.lost()
        device.waiting = list(kept)
        async with running.uplink(device) as uplink:
            await uplink.connect()
            await uplink.deliver()
        assert device.stored == 1
        assert running.collector.facts() == ["frame.refused"]
        assert running.collector.fsck() == []


async def test_a_device_that_hangs_up_is_asked_nothing_and_loses_nothing(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        for _ in range(50):
            device.record([started()] * 20)
        for _ in range(5):
            async with running.uplink(device) as uplink:
                await uplink.connect()
                for _ in range(3):
                    if device.waiting:
                        await uplink.send(device.cut(10))
            device.lost()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            await uplink.deliver()
        assert device.stored + device.duplicate == 1000
        assert running.collector.totals()["rows"] == 1000
        assert running.collector.fsck() == []


async def test_half_closing_still_gets_every_answer(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            for _ in range(4):
                device.record([started()])
                await uplink.send(device.cut())
            await uplink.call.done_writing()
            while await uplink.receive() is not None:
                pass
        assert device.stored == 4


async def test_beyond_the_in_flight_budget_devices_are_pushed_back(store: Store) -> None:
    async with running_uplink(store, SCHOOL, in_flight_bytes=40_000) as running:
        devices = [running.device() for _ in range(6)]

        async def one(device: SimulatedDevice) -> None:
            async with running.uplink(device) as uplink:
                await uplink.connect()
                for _ in range(20):
                    device.record([started() for _ in range(64)])
                await uplink.deliver(max_frames=4)

        await asyncio.gather(*(one(device) for device in devices))
        pushed = [a for d in devices for a in d.answers if isinstance(a, wire.Pushback)]
        assert pushed
        assert all(pushback.retry_after_ms > 0 for pushback in pushed)
        assert running.service.in_flight_bytes == 0
        assert running.collector.totals()["rows"] == 6 * 20 * 64
        assert running.collector.fsck() == []


@pytest.mark.parametrize("reason", ["revoked", "expired"])
async def test_an_open_stream_ends_when_its_certificate_does(store: Store, reason: str) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            running.identities.refused[device.identity.device_id] = reason
            goodbye = await until_goodbye(uplink)
            assert goodbye.reason == reason
        async with running.uplink(device) as uplink:
            first = await uplink.connect()
            assert isinstance(first, wire.Goodbye)
            with pytest.raises(grpc.aio.AioRpcError):
                await uplink.fetch("metadata/timestamp.json")


async def test_a_stream_of_the_same_boot_replaces_a_half_open_one(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as old, running.uplink(device) as new:
            await old.connect()
            assert isinstance(await new.connect(), wire.Welcome)
            await eventually(lambda: running.service.open_streams == 1, "the old stream is closed")
            device.record([started()])
            await new.deliver()
        assert running.collector.facts() == []


async def test_two_machines_with_one_identity_are_found_and_part(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        clone = SimulatedDevice(device.identity, device.pins)
        clone.epoch, clone.machine_hash = device.epoch, device.machine_hash
        async with running.uplink(device) as first, running.uplink(clone) as second:
            await first.connect()
            await second.connect()
            await first.send(wire.StreamHeartbeat(wall_unix_ms=NOW_MS))
            assert (await until_goodbye(second)).reason == "clone"
            assert (await until_goodbye(first)).reason == "clone"
        for machine in (device, clone):
            async with running.uplink(machine) as uplink:
                welcome = await uplink.connect()
                assert isinstance(welcome, wire.Welcome)
                assert "two machines" in welcome.new_epoch_because
        assert "clone.seen" in running.collector.facts()
        assert running.collector.count(tables.clone_sightings) >= 1


async def test_another_machine_hash_is_a_clone(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
        copy = SimulatedDevice(device.identity, device.pins, machine_hash=b"x" * 16)
        copy.epoch = device.epoch
        async with running.uplink(copy) as uplink:
            welcome = await uplink.connect()
        assert isinstance(welcome, wire.Welcome)
        assert welcome.new_epoch_because == "another machine speaks as this device"
        copy.new_epoch()
        async with running.uplink(copy) as uplink:
            welcome = await uplink.connect()
        assert isinstance(welcome, wire.Welcome)
        assert welcome.new_epoch_because == ""
        assert running.collector.facts() == ["clone.seen"]


async def test_commands_grants_and_new_policy_reach_an_open_stream(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            command_id, grant_id = os.urandom(16), os.urandom(16)
            _order(store, device, command_id)
            _grant(store, grant_id, groups=("ks2-laptops",))
            _grant(store, os.urandom(16), groups=("staff-laptops",))
            running.policy["ks2-laptops"] = wire.PolicyAvailable(
                bundle_hash=b"h" * 32, bundle_version=2, timestamp_version=3
            )
            seen: list[wire.CollectorBody | None] = []
            async with asyncio.timeout(60):
                while len(seen) < 3:
                    seen.append(await uplink.receive())
            assert {type(body) for body in seen} == {wire.Command, wire.Grant, wire.PolicyAvailable}
            await uplink.send(
                wire.CommandAcknowledged(command_id=command_id, succeeded=True, detail="done\0")
            )
            await eventually(lambda: _answered(store), "the answer is written down")
            # That it was sent is written beside the sending, and may come after a quick device's answer.
            await eventually(lambda: _sent(store), "that it was sent is written down")
        with store.read() as connection:
            row = connection.execute(select(tables.commands)).one()
        assert (row.succeeded, row.detail) == (True, "done")


def _answered(store: Store) -> bool:
    with store.read() as connection:
        return connection.execute(select(tables.commands.c.succeeded)).scalar_one() is not None


def _sent(store: Store) -> bool:
    with store.read() as connection:
        return connection.execute(select(tables.commands.c.sent_ms)).scalar_one() is not None


def _order(store: Store, device: SimulatedDevice, command_id: bytes) -> None:
    statement = encode(
        wire.CommandStatement(
            school_id=SCHOOL.school_id,
            command_id=command_id,
            device_id=device.identity.device_id,
            expires_unix_ms=NOW_MS + 60_000,
            order=wire.ReportPosture(),
        )
    )
    signature = statements.sign(statements.COMMAND, statement, SCHOOL.command)
    command = wire.Command(statement=statement, key_id=signature.key_id, signature=signature.signature)
    with store.write() as connection:
        connection.execute(
            insert(tables.commands).values(
                school_id=SCHOOL.school_id,
                command_id=command_id,
                device_id=device.identity.device_id,
                command=encode(command),
                created_ms=NOW_MS,
                created_by="t",
                expires_ms=NOW_MS + 60_000,
            )
        )


def _grant(store: Store, grant_id: bytes, groups: tuple[str, ...]) -> None:
    statement = wire.GrantStatement(
        school_id=SCHOOL.school_id,
        grant_id=grant_id,
        kind=wire.GrantKind.LESSON,
        not_before_unix_ms=0,
        expires_unix_ms=NOW_MS + 60_000,
        groups=groups,
    )
    with store.write() as connection:
        connection.execute(
            insert(tables.grants).values(
                school_id=SCHOOL.school_id,
                grant_id=grant_id,
                grant_bytes=encode(wire.Grant(statement=encode(statement))),
                kind="lesson",
                created_ms=NOW_MS,
                expires_ms=NOW_MS + 60_000,
            )
        )


async def test_published_files_are_fetched_by_name(store: Store) -> None:
    files = {"targets/large": os.urandom(300_000)}
    async with (
        running_uplink(store, SCHOOL, files=files) as running,
        running.uplink(running.device()) as uplink,
    ):
        assert await uplink.fetch("targets/large") == files["targets/large"]
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await uplink.fetch("metadata/2.root.json")
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_silent_stream_is_given_up(store: Store) -> None:
    async with running_uplink(store, SCHOOL, terms=Terms(heartbeat_seconds=10)) as running:
        async with running.uplink(running.device()) as uplink:
            await uplink.connect()
            running.collector.now_ms += 31_000
            async with asyncio.timeout(60):
                assert await uplink.receive() is None
        assert running.service.open_streams == 0


async def test_a_stop_answers_what_was_taken_and_says_goodbye(store: Store) -> None:
    async with running_uplink(store, SCHOOL) as running:
        device = running.device()
        async with running.uplink(device) as uplink:
            await uplink.connect()
            for _ in range(3):
                device.record([started()] * 100)
                await uplink.send(device.cut())
            while not running.service.in_flight_bytes:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.001)
            await running.service.say_goodbye()
            goodbye = await until_goodbye(uplink)
            assert goodbye.reason == "shutdown"
            device.lost()
        rows = running.collector.totals()["rows"]
        assert device.stored == rows
