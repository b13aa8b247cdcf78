"""The pack that a school named is the one that detection, calendar and console follow."""

from __future__ import annotations

import shutil
import threading
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette

from schoolkeeper_collector.config import Settings
from schoolkeeper_collector.console import __main__ as console
from schoolkeeper_collector.console.app import create_app
from schoolkeeper_collector.console.call import Options
from schoolkeeper_collector.following import Following, follower_of
from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force, rules_of
from schoolkeeper_collector.school.repository import RepositoryError
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_policies.officer import signing
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import trust
from support.collector import add_device
from support.device import DeviceIdentity
from support.school import GROUP, School, wall_ms

OWN_RULE = """title: A device is silent, the school's own way
name: westgate.silent
description: For the test.
level: low
logsource: {product: schoolkeeper, category: fact.device.silent}
detection:
  selection:
    since_ms|exists: true
  condition: selection
schoolkeeper:
  audience: technician
  subject: device
  category: blind-spot
  headline: Silent
  explanation: Silent.
"""


def own_pack(folder: Path, *, closed: str = "[2026-11-24]") -> Path:
    """The default pack with a closed day and a remedy of its own, and without detection rules."""
    shutil.copytree(pack_folder("default"), folder)
    shutil.rmtree(folder / "detection")
    about = folder / "pack.yaml"
    about.write_text(about.read_text().replace("closed: []", f"closed: {closed}"))
    posture = folder / "posture.yaml"
    posture.write_text(posture.read_text().replace("fix: ", "fix: Ask Priya first. ", 1))
    return folder


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/London")).timestamp() * 1000)


def silent_facts(school: School, follower: Following, now_ms: int) -> int:
    with school.store.write() as connection:
        while follower.step(connection, now_ms):
            pass
        kind = tables.collector_facts.c.kind
        return len(connection.execute(select(kind).where(kind == "device.silent")).all())


def with_device(school: School, heard_ms: int) -> Following:
    add_device(school.store, DeviceIdentity.issued(school.school_id), school_id=school.school_id)
    with school.store.write() as connection:
        connection.execute(update(tables.devices).values(last_contact_ms=heard_ms, enrolled_ms=heard_ms))
    return follower_of(school.store, school.keys, school.folder)


def published(school: School, pack: str | Path) -> None:
    """Stages a pack for one group, signs it by both duties and publishes it."""
    version = school.repository.current().bundles[GROUP][1] + 1
    bundle = compile_bundle(pack, school.keys, group=GROUP, version=version, now_ms=wall_ms())
    changed = {trust.bundle_target(GROUP): bundle}
    folder = staging.stage(school.folder, school.keys, changed, wall_ms(), pack=pack)
    for officer in ("technician", "dsl"):
        signing.sign_staged(folder, school.officer(officer))
    staging.publish_staged(school.folder, school.keys, wall_ms())


def test_a_closed_day_of_the_schools_own_pack_makes_no_device_silent(tmp_path: Path) -> None:
    folder = own_pack(tmp_path / "westgate")
    school = School(tmp_path / "collector", pack=str(folder))
    shutil.rmtree(folder)  # a folder that somebody tidies away afterwards
    follower = with_device(school, ms("2026-11-23T15:40"))
    closed = ms("2026-11-24T14:00")
    assert silent_facts(school, follower, closed) == 0
    published(school, "default")
    follower.look()
    assert silent_facts(school, follower, closed + 120_000) == 1, (
        "the default pack's calendar is open that day"
    )
    school.close()


def test_a_staged_pack_holds_with_its_publication_and_not_before(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    assert pack_in_force(school.folder) == "default"
    folder = own_pack(tmp_path / "westgate")
    bundle = compile_bundle(folder, school.keys, group=GROUP, version=2, now_ms=wall_ms())
    staging.stage(school.folder, school.keys, {trust.bundle_target(GROUP): bundle}, wall_ms(), pack=folder)
    with pytest.raises(RepositoryError, match="no officer signed yet"):
        staging.publish_staged(school.folder, school.keys, wall_ms())
    assert pack_in_force(school.folder) == "default", "nobody signed it"
    published(school, folder)
    held = pack_in_force(school.folder)
    assert isinstance(held, Path)
    assert held.is_relative_to(school.folder / "policy")
    assert [str(day) for day in load_pack(held).school.closed] == ["2026-11-24"]
    published(school, held)
    assert pack_in_force(school.folder) == held, "the same pack again is the same copy"
    school.close()


def test_the_console_shows_the_packs_own_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Options] = []
    create = create_app

    def keeping(options: Options, store: Store, cases: CaseFile) -> Starlette:
        made.append(options)
        return create(options, store, cases)

    monkeypatch.setattr("schoolkeeper_collector.console.__main__.create_app", keeping)
    school = School(tmp_path / "collector", pack=str(own_pack(tmp_path / "westgate")))
    settings = Settings(state_dir=school.folder, console_listen="127.0.0.1:0")
    server = console.make_server(settings, school.keys, school.store)
    assert made[0].fixes["disk-encryption"].startswith("Ask Priya first.")
    began_with = pack_in_force(school.folder)
    watch = threading.Thread(target=console.end_with_pack, args=(server, school.folder, began_with, 0.01))
    published(school, "default")  # also what is published before the first look
    watch.start()
    watch.join(60)
    assert server.should_exit, "started again, it shows the new pack's"
    school.close()


def test_rules_are_the_packs_own_or_those_of_the_default_pack(tmp_path: Path) -> None:
    folder = own_pack(tmp_path / "westgate")
    assert rules_of(folder).rules.keys() == rules_of("default").rules.keys()
    (folder / "detection").mkdir()
    (folder / "detection" / "own.yaml").write_text(OWN_RULE)
    assert list(rules_of(folder).rules) == ["westgate.silent"]
    assert rules_of("demo").rules.keys() == rules_of("default").rules.keys()


def test_a_pack_with_a_broken_rule_is_refused_when_it_is_staged(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    folder = own_pack(tmp_path / "westgate")
    (folder / "detection").mkdir()
    (folder / "detection" / "own.yaml").write_text(OWN_RULE.replace("device.silent}", "device.silnet}"))
    with pytest.raises(PolicyError, match="silnet"):
        staging.stage(school.folder, school.keys, {}, wall_ms(), pack=folder)
    school.close()


def test_a_copy_that_is_gone_is_named_and_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    school = School(tmp_path / "collector", pack=str(own_pack(tmp_path / "westgate")))
    follower = follower_of(school.store, school.keys, school.folder)
    held = pack_in_force(school.folder)
    assert isinstance(held, Path)
    shutil.rmtree(held)
    with pytest.raises(PackInForceError, match="restore"):
        pack_in_force(school.folder)
    follower.look()
    assert "goes on with the pack before" in follower.pack_fault
    school.close()
