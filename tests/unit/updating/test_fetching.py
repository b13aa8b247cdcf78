"""A signed package comes over a real connection from the collector's own hand-out, whole and compared or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest

from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.net import UPLINK
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.places import Place
from schoolkeeper_agent.updating import desk, keeper
from schoolkeeper_agent.updating.desk import UpdatingDesk
from schoolkeeper_collector.updates.gate import Gate
from schoolkeeper_collector.updates.handing import Handing
from schoolkeeper_collector.updates.packages import Packages
from schoolkeeper_proto import model, policy, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import Lane

pytestmark = pytest.mark.anyio
CONTENT = os.urandom(300_000)
RELEASE = policy.AgentRelease(
    school_id="s",
    version="2.0",
    platform="linux",
    architecture="amd64",
    package_sha256=hashlib.sha256(CONTENT).digest(),
    package_length=len(CONTENT),
    files_sha256=b"f" * 32,
    salt=b"s" * 16,
    per_mille=1000,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Followed:
    """In the place of the spool's side: ``tests/unit/agent/test_removal.py`` has the real one."""

    said: list[model.Body] = field(default_factory=list)
    full: bool = False

    async def keep(self, body: model.Body, severity: model.Severity) -> Place | None:
        assert severity
        self.said.append(body)
        return None if self.full else Place(epoch=b"e", lane=Lane.NORMAL, sequence=1)

    async def is_delivered(self, place: Place, seconds: float, look_s: float) -> bool:
        return place.lane is Lane.NORMAL and seconds > look_s


@dataclass
class Device:
    folder: Path
    packages: Packages
    followed: Followed
    parts: Any
    offsets: list[int]

    def desk(self, version: str = "1.0") -> UpdatingDesk:
        return UpdatingDesk(cast(Parts, self.parts), cast(Follower, self.followed), self.folder, version)

    def states(self) -> list[str]:
        return [cast(model.AgentUpdate, body).state for body in self.followed.said]

    def published(self, content: bytes, release: policy.AgentRelease = RELEASE) -> None:
        """What the collector holds under the release's hash, whatever it is."""
        source = self.folder.parent / "source"
        source.write_bytes(content)
        self.packages.keep(source, release.package_sha256)

    @property
    def part(self) -> Path:
        return self.folder / f"{RELEASE.package_sha256.hex()}.part"


@pytest.fixture
async def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Device]:
    packages = Packages(tmp_path / "collector")
    handing = Handing(packages, cast(Gate, SimpleNamespace(look=lambda *_: None)))
    offsets: list[int] = []

    async def fetch(request: bytes, context: Any) -> None:
        asked = decode(wire.FetchRequest, request)
        offsets.append(asked.offset)
        await handing.hand(asked.name, asked.offset, context, 0)

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(fetch)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(UPLINK.strip("/"), {"Fetch": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    (tmp_path / "collector").mkdir()
    monkeypatch.setattr(desk, "BYTES_PER_S", 1 << 30)
    monkeypatch.setattr(desk, "_ENDS_S", 0.0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        parts = SimpleNamespace(
            trust=SimpleNamespace(release=RELEASE), transport=SimpleNamespace(channel=channel)
        )
        folder = tmp_path / "updates"
        yield Device(folder=folder, packages=packages, followed=Followed(), parts=parts, offsets=offsets)
    await server.stop(None)


async def test_a_whole_package_is_handed_to_the_keeper(device: Device) -> None:
    device.published(CONTENT)
    assert await device.desk().look() is True, "the keeper is not done yet"
    assert (device.folder / keeper.NEW).read_bytes() == CONTENT
    wanted = json.loads((device.folder / keeper.WANTED).read_bytes())
    assert wanted == {"version": "2.0", "sha256": RELEASE.package_sha256.hex()}
    assert (device.folder / desk.KEEPER).read_bytes() == Path(keeper.__file__).read_bytes()
    assert device.states() == ["started"]
    assert device.folder.stat().st_mode & 0o777 == 0o700


async def test_what_was_cut_off_goes_on_where_it_ended(device: Device) -> None:
    device.published(CONTENT)
    device.folder.mkdir()
    device.part.write_bytes(CONTENT[:100_000])
    (device.folder / "older.part").write_bytes(b"x")
    await device.desk().look()
    assert device.offsets == [100_000]
    assert (device.folder / keeper.NEW).read_bytes() == CONTENT
    assert not (device.folder / "older.part").exists()


async def test_a_server_that_gives_a_part_is_asked_for_the_rest_later(device: Device) -> None:
    device.published(CONTENT[:200_000])
    assert await device.desk().look() is True
    assert device.part.stat().st_size == 200_000
    assert device.followed.said == []
    device.published(CONTENT)
    await device.desk().look()
    assert (device.folder / keeper.NEW).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("given", "says"),
    [(CONTENT[:-1] + b"\x00", "not the package"), (CONTENT + b"more", "more than the package")],
)
async def test_another_package_is_not_kept_and_the_school_hears_of_it(
    device: Device, given: bytes, says: str
) -> None:
    device.published(given)
    assert await device.desk().look() is True
    assert device.states() == ["refused"]
    assert says in cast(model.AgentUpdate, device.followed.said[0]).detail
    assert list(device.folder.iterdir()) == []


async def test_a_disk_without_room_keeps_nothing_and_tries_again(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.published(CONTENT)
    device.folder.mkdir()
    device.part.write_bytes(CONTENT[:100_000])
    monkeypatch.setattr(desk, "ROOM", 1 << 60)
    assert await device.desk().look() is True
    assert list(device.folder.iterdir()) == []
    assert device.offsets == []


async def test_what_is_halted_or_not_there_is_asked_for_again_later(device: Device) -> None:
    assert await device.desk().look() is True
    device.published(CONTENT)
    device.packages.halt(RELEASE.package_sha256, "two devices went back")
    assert await device.desk().look() is True
    assert not (device.folder / keeper.NEW).exists()
    device.packages.resume(RELEASE.package_sha256)
    await device.desk().look()
    assert (device.folder / keeper.NEW).exists()


@pytest.mark.parametrize("version", ["2.0", "2.1"])
async def test_the_same_and_an_older_one_are_not_fetched(device: Device, version: str) -> None:
    device.published(CONTENT)
    assert await device.desk(version).look() is False
    assert device.offsets == []


async def test_one_that_failed_is_not_tried_again_and_its_successor_is(device: Device) -> None:
    device.published(CONTENT)
    device.folder.mkdir()
    (device.folder / keeper.FAILED).write_text(json.dumps({"sha256": [RELEASE.package_sha256.hex()]}))
    assert await device.desk().look() is False
    content = b"another"
    successor = replace(
        RELEASE, version="2.1", package_sha256=hashlib.sha256(content).digest(), package_length=len(content)
    )
    device.parts.trust.release = successor
    device.published(content, successor)
    await device.desk().look()
    assert (device.folder / keeper.NEW).read_bytes() == content


async def test_a_new_agent_reports_once_the_school_acknowledged_it(device: Device) -> None:
    device.folder.mkdir()
    state = {"step": "waiting", "from": "1.0", "to": "2.0", "sha256": "00"}
    (device.folder / keeper.STATE).write_text(json.dumps(state))
    assert await device.desk("2.0").look() is True, "the keeper is not done yet"
    assert (device.folder / keeper.STARTED).read_text() == "2.0"
    assert (device.folder / keeper.REPORTED).read_text() == "2.0"
    assert device.states() == ["installed"]


async def test_the_former_agent_reports_nothing_for_the_new_one(device: Device) -> None:
    device.folder.mkdir()
    state = {"step": "reverting", "from": "1.0", "to": "2.0", "sha256": "00"}
    (device.folder / keeper.STATE).write_text(json.dumps(state))
    assert await device.desk("1.0").look() is True
    assert not (device.folder / keeper.STARTED).exists()
    assert device.followed.said == []


@pytest.mark.parametrize("came", ["succeeded", "rolled-back", "refused", "stuck"])
async def test_an_outcome_is_forgotten_only_when_it_is_on_the_disk_as_an_event(
    device: Device, came: str
) -> None:
    device.folder.mkdir()
    outcome = device.folder / keeper.OUTCOME
    outcome.write_text(json.dumps({"state": came, "from": "1.0", "to": "2.0", "why": "w", "sha256": "0a"}))
    device.followed.full = True
    assert await device.desk("2.0").look() is True
    assert outcome.exists()
    device.followed.full = False
    assert await device.desk("2.0").look() is False
    assert not outcome.exists()
    assert device.followed.said[-1] == model.AgentUpdate(
        state=came, from_version="1.0", to_version="2.0", package_sha256=b"\n", detail="w"
    )


async def test_only_so_many_devices_fetch_at_once(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.published(CONTENT)
    monkeypatch.setattr("schoolkeeper_collector.updates.handing.AT_ONCE", 0)
    assert await device.desk().look() is True
    assert not (device.folder / keeper.NEW).exists()


def test_only_hashes_are_names_of_packages(tmp_path: Path) -> None:
    packages = Packages(tmp_path)
    tried: Callable[[str], Any] = packages.path_of
    for name in ("packages/../keys/ca.key", "packages/", f"packages/{'a' * 63}", f"targets/{'a' * 64}"):
        with pytest.raises(LookupError):
            tried(name)
    assert asyncio.iscoroutinefunction(Handing.hand)
