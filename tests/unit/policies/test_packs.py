"""The packs that come with the product: they read, compile, and their rules pass their own tests."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.trial import run_tests
from schoolkeeper_policies.parse import load_pack, pack_names
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import LoadedPack
from schoolkeeper_policies.testing import run_policy_tests
from schoolkeeper_proto.bundle import OpenBundle, open_bundle
from schoolkeeper_proto.model import BODY_CLASSES, ImportedAlert, Unrecognised
from schoolkeeper_proto.policy import MediaAccess

KEY = bytes(range(32))


def bundle(pack: str, group: str, version: int = 1) -> bytes:
    return compile_pack(
        pack, school_id="s", group=group, version=version, compiled_at_unix_ms=1_000, pseudonym_key=KEY
    )


def opened(pack: str, group: str) -> OpenBundle:
    return open_bundle(bundle(pack, group), school_id="s", group=group, capabilities=frozenset())


@pytest.mark.parametrize("pack", pack_names())
def test_rules_pass_their_own_tests(pack: str) -> None:
    count, failures = run_tests(load_rules(pack))
    assert not failures, "\n".join(str(failure) for failure in failures)
    assert count > 0


def test_every_rule_of_the_default_pack_that_decides_has_tests_of_its_own() -> None:
    held = LoadedPack.read("default")
    count, failures = run_policy_tests(held, now_ms=1_795_000_000_000)
    assert not failures, "\n".join(str(failure) for failure in failures)
    decides = [*held.pack.applications, *held.pack.media, *held.pack.sites, *held.pack.network]
    without = [rule.id for rule in (*decides, *held.pack.peripherals) if not rule.tests]
    assert (without, count >= 2 * len(decides)) == ([], True)


@pytest.mark.requirement("W-62")
@pytest.mark.parametrize("pack", ["default", "tai-education-centre", "westgate-primary"])
def test_a_notice_says_once_what_is_not_watched(pack: str) -> None:
    group = load_pack(pack).groups[0].name
    said = CliRunner().invoke(cli, ["notice", pack, "--group", group]).output
    lines = said.partition("What is not watched")[2].partition("\n\nWhat ")[0].split("  * ")[1:]
    assert "What is typed." in [line.strip() for line in lines]
    assert "What you type" not in said
    assert len(lines) == len(set(lines)) <= 7


def test_writing_to_a_medium_is_not_told_as_a_refusal() -> None:
    told = {kind.kind: kind.notice for kind in opened("default", "default").collection.kinds}
    assert "refused" not in told["media.copy"]
    assert "refused" in told["media.refused"]


@pytest.mark.parametrize("pack", pack_names())
def test_a_pack_compiles_to_the_same_bytes_and_opens_on_a_device(pack: str) -> None:
    group = load_pack(pack).groups[0].name
    assert bundle(pack, group) == bundle(pack, group)
    assert bundle(pack, group) != bundle(pack, group, version=2)
    assert opened(pack, group).collection.pseudonym_key == KEY


@pytest.mark.requirement("T-41")
@pytest.mark.parametrize("pack", pack_names())
def test_every_kind_that_is_collected_says_so_in_words(pack: str) -> None:
    for kind in opened(pack, load_pack(pack).groups[0].name).collection.kinds:
        assert len(kind.notice) > 20
        assert kind.purpose
        assert kind.readers
        assert kind.retention_days > 0


def test_the_default_pack_collects_every_kind_that_an_agent_reports_but_sites() -> None:
    collected = {kind.kind for kind in opened("default", "default").collection.kinds}
    made_here = {ImportedAlert.KIND, Unrecognised.KIND, "site.usage", "site.refused"}
    assert collected == {cls.KIND for cls in BODY_CLASSES} - made_here


def test_rules_for_some_groups_reach_only_those() -> None:
    pupils = {rule.text.rule_id for rule in opened("default", "ks2-laptops").applications.rules}
    staff = {rule.text.rule_id for rule in opened("default", "staff-laptops").applications.rules}
    assert pupils - staff == {"bypass.vpn", "games.launchers"}
    assert "bypass.tor" in staff


@pytest.mark.requirement("T-44")
def test_plain_media_are_read_only_by_default() -> None:
    (rule,) = opened("default", "default").media.rules
    assert (rule.access, rule.plain) == (MediaAccess.ENCRYPTED_ONLY, MediaAccess.READ_ONLY)


def test_school_hours_become_windows_in_the_schools_time() -> None:
    rules = {rule.text.rule_id: rule for rule in opened("default", "ks2-laptops").applications.rules}
    when = rules["games.launchers"].when
    assert when is not None
    assert (when.times[0].weekdays, when.times[0].from_minute) == (0b11111, 8 * 60 + 30)
    assert when.time_zone == "Europe/London"


def test_a_pack_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(PolicyError, match="one of: default, demo"):
        load_pack("defualt")
