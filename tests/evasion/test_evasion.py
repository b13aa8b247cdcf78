"""The documentation says what really happens to whoever tries a way round a rule."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.evasion.arena import Result, Rules
from support.evasion.published import PUBLISHED
from support.evasion.table import PAGE, Row, all_ways, copy_of, page, rows, told, under
from support.evasion.way import Kind, Way

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a file system and marks it"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def differences(found: list[Row]) -> list[str]:
    held = told(PAGE.read_text())
    return [
        f"{row.line} (the page: {held.get(row.way.name)})"
        for row in found
        if held.get(row.way.name) != row.line
    ]


def test_there_are_at_least_forty_and_one_of_each_class_was_written_apart() -> None:
    assert len(all_ways()) >= 40
    assert len({way.name for way in all_ways()}) == len(all_ways())
    assert {way.kind for way in PUBLISHED} == set(Kind)
    assert all(way.apart for way in PUBLISHED)
    assert set(told(PAGE.read_text())) == {way.name for way in all_ways()}


async def test_one_way_of_each_class_does_what_the_page_says() -> None:
    found = await rows(PUBLISHED)
    assert len(found) >= 8, "most can be tried everywhere"
    assert not differences(found)


@pytest.mark.evasion
@pytest.mark.timeout(1800)
async def test_every_way_does_what_the_page_says() -> None:
    found = await rows(all_ways())
    print("\n" + page(found))
    assert not differences(found)
    if len(found) == len(all_ways()):
        assert page(found) == PAGE.read_text(), "python tests/evasion/write_table.py"


def way(script: str, *, admin: bool = False) -> Way:
    return Way(name="an ordinary day", kind=Kind.COPY, script=script, source="", admin=admin)


async def test_an_allow_list_refuses_what_people_bring_and_nothing_that_was_installed() -> None:
    async with under(Rules.LIST) as tried:
        assert await tried.attempt(way('"$GAME" "$MARK" -')) is Result.PREVENTED
        assert await tried.attempt(way('"$EDITOR" "$MARK" -')) is Result.NOT_COVERED
        approved = 'cp "$GAME" approved; printf x >> approved; ./approved "$MARK" -'
        assert await tried.attempt(way(approved)) is Result.NOT_COVERED, "what the rule excepts starts"
        # A lesson in Python goes on, and so does whatever root runs, also what a person could have put there.
        assert await tried.attempt(way('sh "$GAME_SH" "$MARK" -')) is Result.NOT_COVERED
        assert await tried.attempt(way('"$GAME" "$MARK" -', admin=True)) is Result.NOT_COVERED


async def test_a_package_upgrade_under_an_allow_list_leaves_no_moment_in_which_its_program_is_refused() -> (
    None
):
    """dpkg unpacks beside and renames: the program's file is a new one each time, and root's from its first moment."""
    async with under(Rules.LIST) as tried:
        editor = tried.root / "apps/editor"
        for number in range(20):
            new = copy_of("/bin/cat", editor.with_name("editor.dpkg-new"), f"version {number}".encode())
            new.rename(editor)
            assert await tried.attempt(way('"$EDITOR" "$MARK" -')) is Result.NOT_COVERED
        script = tried.root / "apps/editor.postinst"
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
        assert subprocess.run([script], check=False).returncode == 0


async def test_a_file_of_roots_is_believed_only_where_nobody_could_have_brought_it() -> None:
    async with under(Rules.LIST) as tried:
        stick = (
            'mount -t tmpfs -o nosuid,nodev,mode=755 stick "$STICK" && cp "$EDITOR" "$STICK/editor"; '
            'as_pupil "$STICK/editor" "$MARK" -'
        )
        assert await tried.attempt(way(stick, admin=True)) is Result.PREVENTED
