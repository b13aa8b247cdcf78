"""The notice of what is monitored is written by a child, and only of the policy that is in force (T-41)."""

import asyncio
from pathlib import Path

import pytest

from schoolkeeper_agent import notice, notice_child
from schoolkeeper_agent.notice_child import NoticeNotWritten, Watched
from schoolkeeper_agent.policy_file import policy_at_start
from support.laptop import Laptop
from support.school import School


def test_it_writes_what_the_service_would_and_refuses_for_another_policy(tmp_path: Path) -> None:
    school = School(tmp_path / "school")
    try:
        laptop = Laptop.enrolled(school, tmp_path / "laptop")
    finally:
        school.close()
    state, run = laptop.state_dir, tmp_path / "run"
    run.mkdir()
    bundle = policy_at_start(laptop.in_force(), state).bundle
    kinds = tuple(kind.kind for kind in bundle.collection.kinds)
    stopped = Watched(name="processes", kinds=kinds, problem="it needs root")

    with pytest.raises(NoticeNotWritten, match="not the one in force"):
        asyncio.run(notice_child.write(state, run, b"\0" * 32, [stopped]))
    assert not (run / notice.FOLDER).exists()

    asyncio.run(notice_child.write(state, run, bundle.hash, [stopped]))
    written = {path.name: path.read_text() for path in (run / notice.FOLDER).iterdir()}
    running = [notice.Running(name="processes", kinds=kinds, problem="it needs root")]
    folder = notice.write_notices(tmp_path, bundle, running)
    assert written == {path.name: path.read_text() for path in folder.iterdir()}
    assert "it needs root" in written[notice.TEXT_FILE]
