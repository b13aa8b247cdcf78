"""Enrolment through what schools have between a laptop and the collector, and the doctor's word on each."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.addresses import keep_move, known_addresses
from schoolkeeper_agent.doctor import DoctorOptions, Finding, Level, diagnose
from schoolkeeper_agent.enrol import EnrolError
from schoolkeeper_agent.enrol_unattended import enrol_unattended
from schoolkeeper_agent.identity import load_identity
from schoolkeeper_agent.net import Proxy, fetch_from, open_channel
from schoolkeeper_agent.trust import load_trust, update_trust
from schoolkeeper_collector.devices import fleet
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.statement import with_addresses
from schoolkeeper_policies.officer.signing import sign_staged
from schoolkeeper_proto import policy, trust, wire
from schoolkeeper_proto.codec import decode, encode
from support.ports import free_port
from support.proxies import connect_proxy, filter_context
from support.school import DAY_MS, School, enrol_device, listening, wall_ms

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    yield made
    made.close()


async def refused(school: School, state_dir: Path, **more: object) -> EnrolError:
    with pytest.raises(EnrolError) as caught:
        await enrol_device(school, state_dir, school.token(), **more)  # type: ignore[arg-type]
    assert load_identity(state_dir) is None
    return caught.value


def by_check(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def test_through_a_connect_proxy_with_and_without_sign_in(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            listening(school),
            connect_proxy() as plain,
            connect_proxy(sign_in=("lap:top", "s@fe")) as guarded,
        ):
            token = school.token(uses=3)
            await enrol_device(school, tmp_path / "one", token, proxy=plain.proxy())
            assert school.enrol_address in plain.targets
            assert plain.bytes_passed > 5_000
            proxy = guarded.proxy("lap:top", "s@fe")
            result = await enrol_device(school, tmp_path / "two", token, proxy=proxy)
            async with open_channel(
                school.uplink_address, result.identity.ca_pem, result.identity, proxy
            ) as channel:
                update = await update_trust(tmp_path / "two", fetch_from(channel), now_ms=wall_ms())
            assert update.refused == ""
            assert school.uplink_address in guarded.targets
            wrong = await refused(school, tmp_path / "three", proxy=guarded.proxy("lap:top", "no"))
            assert (wrong.reason, "407" in str(wrong)) == ("proxy-refuses", True)
            async with connect_proxy(forbid=True) as forbidding:
                error = await refused(school, tmp_path / "three", proxy=forbidding.proxy())
                assert error.reason == "proxy-refuses"
                assert f"allow CONNECT to {school.enrol_address}" in error.remedy

    asyncio.run(scenario())


def test_a_filter_that_opens_tls_is_named_with_the_bypass_entry(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        context = filter_context(tmp_path / "filter")
        async with listening(school), connect_proxy(intercept=context) as filtering:
            error = await refused(school, tmp_path / "laptop", proxy=filtering.proxy())
            assert error.reason == "intercepted"
            assert "Anytown Web Filter" in str(error)
            assert error.remedy.endswith(f"(TLS bypass): {school.enrol_address}")
            await enrol_device(school, tmp_path / "laptop", school.token())
            found = await diagnose(
                DoctorOptions(state_dir=tmp_path / "laptop", proxy=f"http://127.0.0.1:{filtering.port}"),
                now_ms=wall_ms(),
            )
            addresses = by_check(found, "address")
            assert {f.level for f in addresses} == {Level.FAULT}
            assert all("TLS bypass" in f.remedy for f in addresses)

    asyncio.run(scenario())


def test_each_unreachable_address_has_its_own_remedy(school: School, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(school):
            laptop = tmp_path / "laptop"
            assert (await refused(school, laptop, address=f"127.0.0.1:{free_port()}")).reason == "port-closed"
            assert (
                await refused(school, laptop, address="no.such.host.invalid:7443")
            ).reason == "name-not-found"
            assert (await refused(school, laptop, address="localhost")).reason == "bad-address"
            wrong = await refused(school, laptop, address=f"127.0.0.2:{school.enrol_port}")
            assert wrong.reason in ("wrong-host", "port-closed")
            swapped = await refused(school, laptop, address=school.uplink_address)
            assert swapped.reason == "not-enrolment"
            assert f"port {school.uplink_address.rpartition(':')[2]} of 127.0.0.1" in swapped.message
            assert "127.0.0.1:7443" in swapped.remedy
            assert "the uplink port, 7444" in swapped.remedy
            with socket.create_server(("127.0.0.1", 0)) as silent:
                silent.listen()
                port = silent.getsockname()[1]
                asker = asyncio.create_task(refused(school, laptop, address=f"127.0.0.1:{port}"))
                accepted = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
                accepted[0].sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                assert (await asker).reason == "not-tls"
                accepted[0].close()

    asyncio.run(scenario())


def test_a_certificate_for_another_host_is_named(tmp_path: Path) -> None:
    school = School(tmp_path / "collector", hosts=("collector.school.example",))

    async def scenario() -> None:
        async with listening(school):
            error = await refused(school, tmp_path / "laptop")
            assert error.reason == "wrong-host"
            assert "collector.school.example" in error.message

    asyncio.run(scenario())
    school.close()


def test_thirty_laptops_enrol_by_themselves_when_the_collector_is_first_reachable(
    school: School, tmp_path: Path
) -> None:
    laptops = 6
    token = school.token(uses=laptops)

    async def one(number: int) -> bytes:
        state_dir = tmp_path / f"laptop-{number}"
        preseed = tmp_path / f"enrol-{number}.toml"
        preseed.write_text(f'addresses = ["127.0.0.1:1", "{school.enrol_address}"]\ntoken = "{token}"\n')
        heard: list[str] = []

        async def soon(seconds: float) -> None:
            await asyncio.sleep(seconds / 20)

        result = await enrol_unattended(
            state_dir, say=heard.append, wall_ms=wall_ms, preseed=preseed, sleep=soon
        )
        assert any("port is closed" in line for line in heard)
        assert not preseed.exists(), "the token has done its work"
        return result.identity.device_id

    async def scenario() -> None:
        waiting = [asyncio.create_task(one(number)) for number in range(laptops)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in waiting)
        async with listening(school):
            devices = await asyncio.wait_for(asyncio.gather(*waiting), 60)
        assert len(set(devices)) == laptops

    asyncio.run(scenario())


def test_an_image_made_in_the_middle_of_an_enrolment_still_gives_two_devices(
    school: School, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with listening(school):
            token = school.token(uses=2)
            school.clock_off_ms = -3 * 365 * DAY_MS
            with pytest.raises(EnrolError):
                await enrol_device(school, tmp_path / "one", token, serial="PF-1")
            shutil.copytree(tmp_path / "one", tmp_path / "two")
            school.clock_off_ms = 0
            first = await enrol_device(school, tmp_path / "one", token, serial="PF-1")
            second = await enrol_device(school, tmp_path / "two", token, serial="PF-2")
            assert first.identity.device_id != second.identity.device_id
            assert first.identity.signer.key_id != second.identity.signer.key_id

    asyncio.run(scenario())


def test_officers_sign_a_move_and_devices_follow(school: School, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"

    async def scenario() -> None:
        async with listening(school):
            identity = (await enrol_device(school, laptop, school.token())).identity
            held = decode(policy.KeyStatement, school.repository.current().key_statement)
            moved = with_addresses(
                held, ["new.school.example:7444", school.uplink_address], [school.enrol_address], wall_ms()
            )
            folder = staging.stage(school.folder, school.keys, {trust.KEYS_TARGET: encode(moved)}, wall_ms())
            for officer in ("technician", "head"):
                sign_staged(folder, school.officer(officer))
            staging.publish_staged(school.folder, school.keys, wall_ms())
            async with open_channel(school.uplink_address, identity.ca_pem, identity, None) as channel:
                assert (await update_trust(laptop, fetch_from(channel), now_ms=wall_ms())).changed
            now = load_trust(laptop)
            assert now is not None
            found = known_addresses(laptop, identity, now)
            assert found.uplink == ("new.school.example:7444", school.uplink_address)
            assert known_addresses(laptop, identity, None).uplink == found.uplink, (
                "also when the set is damaged"
            )
            keep_move(laptop, wire.MoveCollector(uplink_addresses=("third.example:7444",)), now)
            assert known_addresses(laptop, identity, now).uplink[0] == "third.example:7444"

    asyncio.run(scenario())


def test_the_doctor_finds_nothing_on_a_healthy_device_and_each_fault_on_a_sick_one(
    school: School, tmp_path: Path
) -> None:
    laptop = tmp_path / "laptop"

    async def scenario() -> None:
        async with listening(school):
            before = await diagnose(DoctorOptions(state_dir=laptop), now_ms=wall_ms())
            assert by_check(before, "identity")[0].level is Level.FAULT
            assert "enrol" in by_check(before, "identity")[0].remedy
            identity = (await enrol_device(school, laptop, school.token())).identity
            options = DoctorOptions(state_dir=laptop, config_path=tmp_path / "agent.toml")
            healthy = await diagnose(options, now_ms=wall_ms())
            assert [f for f in healthy if f.level is not Level.OK] == []
            assert {f.check for f in healthy} >= {
                "config", "state", "spool", "identity", "certificate", "policy", "address", "uplink", "clock",
            }  # fmt: skip
            late = await diagnose(options, now_ms=wall_ms() + 30 * DAY_MS)
            assert by_check(late, "clock")[0].level is Level.FAULT
            assert "30.0 days ahead" in by_check(late, "clock")[0].message
            assert "stale since" in by_check(late, "policy")[0].message
            assert by_check(late, "certificate")[0].level is Level.NOTE
            (tmp_path / "agent.toml").write_text("state_dir = \n")
            assert by_check(await diagnose(options, now_ms=wall_ms()), "config")[0].level is Level.FAULT
            with school.store.write() as connection:
                fleet.revoke(
                    connection,
                    school_id=school.school_id,
                    device_id=identity.device_id,
                    actor="test",
                    reason="lost",
                    now_ms=wall_ms(),
                )
        gone = await diagnose(options, now_ms=wall_ms())
        assert by_check(gone, "uplink")[0].level is Level.FAULT
        assert all("port is closed" in f.message for f in by_check(gone, "address"))
        assert by_check(gone, "clock")[0].level is Level.UNKNOWN, "unknown is not shown as fine"

    asyncio.run(scenario())


def test_proxies_of_the_environment_are_not_used_unasked(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")

    async def scenario() -> None:
        async with listening(school):
            await enrol_device(school, tmp_path / "laptop", school.token())
            with pytest.raises(EnrolError):
                await enrol_device(
                    school, tmp_path / "other", school.token(), proxy=Proxy(host="127.0.0.1", port=1)
                )

    asyncio.run(scenario())
