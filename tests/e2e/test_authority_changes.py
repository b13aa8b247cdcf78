"""The school's certificate authority changes under a fleet, over real TLS: list both, switch, retire the old one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from schoolkeeper_agent import identity as identities
from schoolkeeper_agent.renew import RenewError, renew
from schoolkeeper_collector.devices.authority import Authority
from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.commands import register
from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_policies.officer import signing
from support.laptop import Laptop
from support.school import School, enrol_device, listening, wall_ms


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[School]:
    made = School(tmp_path / "collector")
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(made.folder))
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    yield made
    made.close()


def collector(*arguments: str) -> None:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output


def restarted(school: School) -> None:
    """The collector reads its keys when it starts."""
    school.keys = load_keys(school.folder)
    school.authority = Authority(
        school.school_id, school.keys.ca_key, school.keys.ca_certificate, school.keys.ca_retired
    )


def stage_and_publish(school: School, option: str) -> None:
    collector("stage-keys", option, "--why", "the old authority's key is ten years old")
    for name in ("technician", "dsl"):
        signing.sign_staged(school.folder / "trust" / "staged", school.officer(name))
    collector("publish")


@pytest.mark.timeout(300)
def test_devices_follow_and_one_that_was_away_is_told(school: School, tmp_path: Path) -> None:
    here, away = tmp_path / "here", tmp_path / "away"
    laptop = Laptop(here, school.repository)

    async def enrol() -> None:
        async with listening(school):
            for folder in (here, away):
                await enrol_device(school, folder, school.token(uses=2))

    async def renewed(folder: Path) -> identities.Identity:
        held = identities.load_identity(folder)
        assert held is not None
        async with listening(school):
            return await renew(folder, held, [school.enrol_address], proxy=None, now_ms=wall_ms())

    asyncio.run(enrol())
    old = certificates.der(school.keys.ca_certificate)
    stage_and_publish(school, "--new-ca")
    assert laptop.update().changed
    held = identities.load_identity(here)
    assert held is not None
    listed = identities.certificates_in(held.ca_pem)
    assert (len(listed), listed[0]) == (2, old)
    collector("switch", "ca")
    restarted(school)
    new = certificates.der(school.keys.ca_certificate)
    assert new == listed[1]
    # Its certificate is still the old authority's, the listener's the new one's: each takes the other.
    mine = asyncio.run(renewed(here))
    assert identities.split_chain(mine.chain_pem)[1] == new
    with pytest.raises(RenewError) as caught:
        asyncio.run(renewed(away))
    assert caught.value.reason == "unreachable"

    stage_and_publish(school, "--retire-ca")
    assert laptop.update().changed
    last = identities.load_identity(here)
    assert last is not None
    assert identities.certificates_in(last.ca_pem) == [new]
    asyncio.run(renewed(here))
