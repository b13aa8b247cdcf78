"""What each platform does with the policy in force, and what people are told of it: from the signed bundle alone."""

import io
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.in_force import in_force
from schoolkeeper_collector.console.pages.notices import AGREEMENTS
from schoolkeeper_collector.school.pack_in_force import pack_in_force
from schoolkeeper_collector.store.tables import access_log
from schoolkeeper_policies.targets.common import WITHOUT, Platform
from schoolkeeper_policies.targets.coverage import table
from schoolkeeper_policies.targets.exporters import EXPORTERS, export, group_policy
from schoolkeeper_proto.notices.agreement import agreement_of
from schoolkeeper_proto.notices.facts import facts_of
from schoolkeeper_proto.notices.render import EDITIONS, as_page, edition_name
from support.console import Bench, Clock, new_bench, text_of
from support.school import GROUP, OTHER_GROUP, School


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    made = School(tmp_path_factory.mktemp("school"), pack="westgate-primary")
    yield made
    made.close()


@pytest.fixture(scope="module")
def bench(school: School) -> Bench:
    return new_bench(school.store, Clock(), state_dir=school.folder)


def test_the_signed_bundle_exports_like_the_pack_in_force(school: School) -> None:
    held = in_force(school.folder, school.school_id, GROUP)
    assert held is not None
    pack = group_policy(pack_in_force(school.folder), school=school.school_id, group=GROUP)
    assert export(held.policy, Platform) == export(pack, Platform)
    assert table(held.policy, export(held.policy, Platform)) == table(pack, export(pack, Platform))


@pytest.mark.requirement("W-111")
def test_every_rule_says_what_each_platform_does_and_nothing_is_a_sum(school: School, bench: Bench) -> None:
    page = bench.signed_in(Role.TECHNICIAN).get(f"/platforms?group={OTHER_GROUP}").text
    held = in_force(school.folder, school.school_id, OTHER_GROUP)
    assert held is not None
    rows = table(held.policy, export(held.policy, Platform))
    assert rows
    levels = re.findall(r'class="sk-level[^"]*">([^<]+)<', page)
    said = [row.lines[name].level.value if name in row.lines else "nothing" for row in rows for name in
            ("linux with our agent", *Platform)]  # fmt: skip
    assert levels == said
    partly = [line for row in rows for line in row.lines.values() if WITHOUT in line.note]
    assert page.count("a part is missing") == len(partly) > 0
    assert "nothing" in said, "a platform that says nothing is shown as it is"
    assert not re.search(r"\bprotected\b", text_of(page).casefold())
    assert f"Group {OTHER_GROUP}, policy version 1." in text_of(page)


def test_a_zip_holds_the_platforms_files_and_what_is_not_in_them(school: School, bench: Bench) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    held = in_force(school.folder, school.school_id, GROUP)
    assert held is not None
    for platform in Platform:
        answer = client.get(f"/platforms/{platform}?group={GROUP}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{GROUP}-{platform}-1.zip"'
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        read_me = found.pop("READ-ME-FIRST.txt").decode()
        made = EXPORTERS[platform](held.policy)
        assert found == {file.name: file.data for file in made.files}
        assert "not verified by us" in read_me
        assert all(line.note in read_me for line in made.coverage)
        assert client.get(f"/platforms/{platform}?group={GROUP}").content == answer.content
    with school.store.read() as connection:
        rows = connection.execute(select(access_log.c.reason).where(access_log.c.action == "policy.exported"))
        assert f"{GROUP}, version 1, windows" in [row.reason for row in rows]
    assert client.get("/platforms/plan9").status_code == 404
    assert client.get("/platforms/windows?group=nobody").status_code == 404


@pytest.mark.requirement("T-67")
@pytest.mark.parametrize("role", list(Role))
def test_every_edition_reads_as_the_notice_of_the_policy_in_force(
    school: School, bench: Bench, role: Role
) -> None:
    client = bench.signed_in(role)
    index = client.get(f"/notices?group={GROUP}").text
    held = in_force(school.folder, school.school_id, GROUP)
    assert held is not None
    for audience, level, language in EDITIONS:
        name = edition_name(audience, level, language)
        assert f'href="/notices/{name}?group={GROUP}"' in index
        whole = as_page(facts_of(held.bundle, audience, school="Westgate"), language, level)
        saved = client.get(f"/notices/{name}?group={GROUP}&file=1")
        assert saved.text == whole
        assert "attachment" in saved.headers["content-disposition"]
        shown = client.get(f"/notices/{name}?group={GROUP}").text
        body = re.compile(r"<main>.*</main>", re.DOTALL)
        assert unescape(text_of(body.findall(shown)[0])) == unescape(text_of(body.findall(whole)[0]))
        assert f'<html lang="{language}"' in shown
        assert "<style" not in shown, "the console's pages may hold no style of their own"
    assert client.get("/notices/pupil.early.xx").status_code == 404
    assert client.get("/notices/staff.early.en").status_code == 404


def test_the_agreements_to_be_signed_are_those_of_the_policy_in_force(school: School, bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    index = client.get(f"/notices?group={GROUP}").text
    held = in_force(school.folder, school.school_id, GROUP)
    assert held is not None
    for name, (band, language) in AGREEMENTS.items():
        assert f'href="/notices/{name}?group={GROUP}"' in index
        saved = client.get(f"/notices/{name}?group={GROUP}")
        assert saved.text == agreement_of(held.bundle, band, language, school="Westgate").as_page()
        assert f'filename="{GROUP}-{name}.html"' in saved.headers["content-disposition"]
    assert client.get("/notices/agreement.ks9.en").status_code == 404


def test_without_a_school_on_disk_the_pages_say_why(tmp_path: Path, school: School) -> None:
    empty = new_bench_at(school, tmp_path)
    client = empty.signed_in(Role.TECHNICIAN)
    for path in ("/platforms", "/platforms/windows", "/notices", "/notices/pupil.early.en"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "What is published cannot be read" in answer.text


def new_bench_at(school: School, folder: Path) -> Bench:
    from schoolkeeper_collector.console.app import create_app, options_of
    from schoolkeeper_collector.incidents.case_file import CaseFile
    from schoolkeeper_policies.detection.load import load_rules
    from support.console import KEY

    clock = Clock(Clock().now_ms + 3_600_000)
    options = options_of(school.store, console_key=KEY, secure=False, fixes={}, state_dir=folder)
    app = create_app(options, school.store, CaseFile(school.store, load_rules("default")), clock=clock)
    return Bench(store=school.store, app=app, clock=clock)
