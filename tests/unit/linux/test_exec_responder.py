"""The exec responder answers the real kernel: it refuses, cannot be walked around, and never freezes the machine."""

import asyncio
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import RefreshApplications
from schoolkeeper_agent.observations import ExecutionJudged, GuardDown, GuardUp, Missed, ProcessStarted
from schoolkeeper_agent.sensors.linux.processes import ProcessSensor
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import Applicability, MatchBy, TimeWindow
from support.core_playbook import bundle_of
from support.exec_guard import Guard, guard_on, own_file_system, resident_mib, responder_of, rule, sha256_of
from support.patience import eventually

pytestmark = pytest.mark.anyio
REFUSED = -1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_file_system() as mounted:
        yield mounted


@pytest.fixture
async def guard(folder: Path, tmp_path: Path) -> AsyncIterator[Guard]:
    async with guard_on(folder, tmp_path / "run") as running:
        yield running


async def test_a_named_program_gets_eperm_and_the_refusal_is_reported(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("no-game", MatchBy.PATH, str(folder / "game"), DecisionKind.BLOCK_AND_RAISE))
    assert await guard.execute("ok") == 0
    assert await guard.execute("game") == REFUSED
    (seen,) = await guard.saw(ExecutionJudged)
    assert isinstance(seen, ExecutionJudged)
    assert (seen.path, seen.rule_id, seen.decision) == (
        str(folder / "game"),
        "no-game",
        DecisionKind.BLOCK_AND_RAISE,
    )
    assert (seen.user_id, seen.account) == (0, "root")


async def test_a_script_run_directly_is_refused_and_one_given_to_its_interpreter_is_not(
    guard: Guard, folder: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "script.sh"))
    assert await guard.execute("script.sh") == REFUSED
    # The known gap: only the interpreter is executed.
    assert subprocess.run(["/bin/sh", folder / "script.sh"], check=False).returncode == 0


async def test_a_renamed_copy_is_caught_by_its_hash(guard: Guard, folder: Path) -> None:
    (folder / "game").write_bytes((folder / "game").read_bytes() + b"own")
    await guard.decide_by(rule("r", MatchBy.SHA256, sha256_of(folder / "game")))
    shutil.copy(folder / "game", folder / "homework")
    assert await guard.execute("homework") == REFUSED
    assert await guard.execute("ok") == 0
    # The same file with other content is another program.
    (folder / "homework").write_bytes((folder / "ok").read_bytes())
    assert await guard.execute("homework") == 0


async def test_a_hash_is_not_remembered_for_a_file_that_somebody_can_write_to(
    guard: Guard, folder: Path
) -> None:
    """Dirty pages of a mapping change without a new time stamp: what was allowed once would stay allowed."""
    program = folder / "program"
    fine, bad = (folder / "ok").read_bytes() + b"fine", (folder / "ok").read_bytes() + b"evil"
    program.write_bytes(bad)
    program.chmod(0o777)
    await guard.decide_by(rule("r", MatchBy.SHA256, sha256_of(program)))
    assert await guard.execute("program") == REFUSED
    with program.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[-4:] = b"fine"
        await asyncio.sleep(0.1)
        with pytest.raises(OSError, match="busy"):  # judged, and allowed, but the kernel sees the writer
            await guard.execute("program")
        page[-4:] = b"evil"
    assert await guard.execute("program") == REFUSED
    program.write_bytes(fine)
    assert await guard.execute("program") == 0


async def test_another_mount_namespace_and_a_bind_mount_do_not_walk_around_it(
    guard: Guard, folder: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.PATH, str(folder / "game")))
    (folder / "elsewhere").touch()
    around = f"mount --bind {folder}/game {folder}/elsewhere && exec {folder}/elsewhere"
    for command in (f"exec {folder}/game", around):
        tried = ["unshare", "--mount", "sh", "-c", command]
        done = await asyncio.to_thread(subprocess.run, tried, capture_output=True, text=True, check=False)
        assert "not permitted" in done.stderr, (command, done)
    assert not [one for one in guard.seen if isinstance(one, ExecutionJudged) and not one.rule_id]


async def test_a_program_that_a_sandbox_shows_elsewhere_is_known_by_its_own_place(
    guard: Guard, folder: Path
) -> None:
    """As Flatpak does it: the application's folder is /app inside, and the rule names where it is installed."""
    place = folder / "flatpak/app/org.example.Game/files"
    place.mkdir(parents=True)
    shutil.copy("/bin/true", place / "run")
    (folder / "app").mkdir()
    await guard.decide_by(rule("r", MatchBy.PATH_PATTERN, f"{folder}/flatpak/app/org.example.Game/**"))
    inside = f"mount --bind {place} {folder}/app && exec {folder}/app/run"
    tried = ["unshare", "--mount", "sh", "-c", inside]
    done = await asyncio.to_thread(subprocess.run, tried, capture_output=True, text=True, check=False)
    assert "not permitted" in done.stderr, done
    (seen,) = await guard.saw(ExecutionJudged)
    assert isinstance(seen, ExecutionJudged)
    assert seen.path == f"{place}/run"


async def test_a_file_system_of_ones_own_goes_around_it_and_the_process_sensor_sees_that(
    guard: Guard, folder: Path, tmp_path: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    seen: list[object] = []
    sensing = asyncio.create_task(
        ProcessSensor(Context(bundle=bundle_of(), run_dir=tmp_path)).run(seen.append)
    )
    await asyncio.sleep(0.1)
    script = f"mount -t tmpfs own {folder} && cp /bin/sleep {folder}/game && exec {folder}/game 2"
    done = await asyncio.to_thread(subprocess.run, ["unshare", "--mount", "sh", "-c", script], check=False)
    assert done.returncode == 0, "the known gap is gone: say so in the README"

    def found() -> bool:
        return any(isinstance(one, ProcessStarted) and one.path.endswith("/game") for one in seen)

    await eventually(found, "the process sensor sees it")
    sensing.cancel()


async def test_a_file_system_mounted_later_is_marked_when_it_appears(folder: Path, tmp_path: Path) -> None:
    later = folder / "later"
    later.mkdir()
    async with guard_on(later, tmp_path / "run") as guard:
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
        subprocess.run(["mount", "-t", "tmpfs", "schoolkeeper-test", later], check=True)
        try:
            shutil.copy("/bin/true", later / "game")
            async with asyncio.timeout(60):
                while await guard.execute("game") != REFUSED:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            subprocess.run(["umount", "--lazy", later], check=True)


async def test_new_rules_are_in_force_at_once_also_for_what_was_allowed_before(
    guard: Guard, folder: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    for _ in range(3):  # from the second on the kernel does not even ask
        assert await guard.execute("ok") == 0
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "ok"))
    assert await guard.execute("ok") == REFUSED
    assert await guard.execute("game") == 0
    await guard.decide_by()
    assert await guard.execute("ok") == 0
    assert guard.enforcer.responder_pid == 0, "nothing is restricted: nothing needs to run"


async def test_only_files_that_root_alone_can_change_are_not_asked_about_again(
    guard: Guard, folder: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.SHA256, "0" * 64))
    (folder / "own").write_bytes(Path("/bin/true").read_bytes())
    (folder / "own").chmod(0o777)
    asked = {}
    for name in ("ok", "own"):
        await guard.execute(name)
        before = _voluntary_switches(guard)
        for _ in range(20):
            assert await guard.execute(name) == 0
        asked[name] = _voluntary_switches(guard) - before
    assert asked["ok"] < 10 < asked["own"], asked


def _voluntary_switches(guard: Guard) -> int:
    status = Path(f"/proc/{responder_of(guard.enforcer.responder_pid)}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


async def test_a_rule_for_a_group_holds_for_its_people_only(guard: Guard, folder: Path) -> None:
    when = Applicability(user_groups=("pupils",))
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game", when=when))
    pupil, teacher, unknown = 40001, 40002, 40003
    groups = ((pupil, ("pupils",)), (teacher, ("staff",)))
    outcome = await guard.enforcer.perform(RefreshApplications(place="on-site", groups=groups))
    assert outcome.succeeded, outcome.detail
    # Somebody whose groups nobody knows gets the stricter rule.
    answers = {user: await guard.execute("game", before=_become(user)) for user in (pupil, teacher, unknown)}
    assert answers == {pupil: REFUSED, teacher: 0, unknown: REFUSED}
    assert await guard.execute("game") == 0, "root is in no school group"


def _become(user: int):  # type: ignore[no-untyped-def]
    return lambda: os.setresuid(user, user, user)


async def test_a_rule_of_certain_hours_holds_in_them(guard: Guard) -> None:
    always = Applicability(
        times=(TimeWindow(weekdays=127, from_minute=0, to_minute=1440),), time_zone="Europe/London"
    )
    day = time.gmtime().tm_wday
    never = Applicability(times=(TimeWindow(weekdays=1 << (day + 3) % 7, from_minute=0, to_minute=1440),))
    await guard.decide_by(
        rule("a", MatchBy.FILE_NAME, "game", when=always), rule("n", MatchBy.FILE_NAME, "ok", when=never)
    )
    assert await guard.execute("game") == REFUSED
    assert await guard.execute("ok") == 0


async def test_its_death_fails_open_is_said_and_it_comes_back(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    assert await guard.execute("game") == REFUSED
    os.kill(responder_of(guard.enforcer.responder_pid), signal.SIGKILL)
    assert subprocess.run([folder / "ok"], check=False).returncode == 0, "nobody waits for an answer"
    (down,) = await guard.saw(GuardDown)
    assert isinstance(down, GuardDown)
    assert "killed" in down.reason
    await guard.saw(GuardUp, 2)
    assert await guard.execute("game") == REFUSED


async def test_a_responder_that_stopped_answering_is_ended_by_its_guardian(
    guard: Guard, folder: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    os.kill(responder_of(guard.enforcer.responder_pid), signal.SIGSTOP)
    # By a shell: Python itself would stand still until its child's execution is decided.
    command = ["sh", "-c", f"exec {folder}/ok"]
    done = await asyncio.to_thread(subprocess.run, command, timeout=60, check=False)
    assert done.returncode == 0
    (down,) = await guard.saw(GuardDown)
    assert isinstance(down, GuardDown)
    assert "in time" in down.reason


async def test_a_dead_guardian_takes_the_responder_with_it(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    os.kill(guard.enforcer.responder_pid, signal.SIGKILL)
    await guard.saw(GuardDown)
    await guard.saw(GuardUp, 2)
    assert await guard.execute("game") == REFUSED


async def test_a_new_responder_takes_over_without_an_undecided_moment(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    stop = asyncio.Event()

    answers: list[int] = []

    async def keep_trying() -> None:
        while not stop.is_set():
            answers.append(await guard.execute("game"))

    trying = asyncio.create_task(keep_trying())
    before = guard.enforcer.responder_pid
    await eventually(lambda: len(answers) > 15, "the old one answers")
    assert await guard.enforcer.replace_responder() == ""
    during = len(answers)
    await eventually(lambda: len(answers) > during + 15, "the new one answers")
    stop.set()
    await trying
    assert guard.enforcer.responder_pid != before
    assert len(answers) > 20
    assert set(answers) == {REFUSED}
    assert not [one for one in guard.seen if isinstance(one, GuardDown)]


SERVICE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.core_playbook import bundle_of
from support.exec_guard import guard_on, rule
from schoolkeeper_proto.policy import MatchBy
async def main():
    async with guard_on(Path({folder!r}), Path({run!r})) as guard:
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
        print(guard.enforcer.responder_pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def _service(folder: Path, run: Path) -> tuple[subprocess.Popen[str], int]:
    script = SERVICE.format(tests=str(Path(__file__).parents[2]), folder=str(folder), run=str(run))
    service = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    return service, int(service.stdout.readline())


async def test_a_frozen_service_freezes_nothing(folder: Path, tmp_path: Path) -> None:
    service, guardian = _service(folder, tmp_path / "run")
    try:
        service.send_signal(signal.SIGSTOP)
        for _ in range(1500):  # far more reports than the socket holds
            with pytest.raises(PermissionError):
                subprocess.run([folder / "game"], check=False)
        assert subprocess.run([folder / "ok"], check=False).returncode == 0
    finally:
        service.send_signal(signal.SIGCONT)
        service.kill()
        service.wait()
        os.kill(guardian, signal.SIGTERM)


async def test_what_could_not_be_reported_is_counted(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    for _ in range(3000):  # in this thread: the loop does not read meanwhile
        with pytest.raises(PermissionError):
            subprocess.run([folder / "game"], check=False)
    await guard.saw(Missed)

    def counts() -> tuple[int, int]:
        reported = sum(isinstance(one, ExecutionJudged) for one in guard.seen)
        return reported, sum(one.count for one in guard.seen if isinstance(one, Missed))

    await eventually(lambda: sum(counts()) >= 3000, f"each is reported or counted: {counts()}")
    assert counts()[1] > 0
    assert sum(counts()) == 3000


async def test_the_responder_of_a_killed_service_is_relieved_by_the_next_one(
    folder: Path, tmp_path: Path
) -> None:
    service, guardian = _service(folder, tmp_path / "run")
    service.kill()
    service.wait()
    with pytest.raises(PermissionError):
        subprocess.run([folder / "game"], check=False)
    async with guard_on(folder, tmp_path / "run") as guard:
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "ok"))
        async with asyncio.timeout(60):
            while Path(f"/proc/{guardian}").exists():  # noqa: ASYNC110 - an orphan: init reaps it
                await asyncio.sleep(0.02)
        assert await guard.execute("game") == 0
        assert await guard.execute("ok") == REFUSED
        # What the old one refused while nobody heard it is known as a figure.
        missed = await guard.saw(Missed)
        assert [one.count for one in missed] == [1]  # type: ignore[attr-defined]


async def test_it_stays_small(guard: Guard, folder: Path) -> None:
    await guard.decide_by(
        rule("h", MatchBy.SHA256, "0" * 64),
        *[rule(f"r{number}", MatchBy.PATH, f"/opt/program-{number}/bin/run") for number in range(500)],
    )
    assert await guard.execute("ok") == 0
    guardian = guard.enforcer.responder_pid
    used = {"responder": resident_mib(responder_of(guardian)), "guardian": resident_mib(guardian)}
    assert used["responder"] <= 16, used
    assert used["guardian"] <= 16, used


async def test_its_descriptor_exists_once(guard: Guard, folder: Path) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    guardian = guard.enforcer.responder_pid
    held = {}
    for pid in (os.getpid(), guardian, responder_of(guardian)):
        links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()]
        held[pid] = sum("[fanotify]" in link for link in links)
    assert list(held.values()) == [0, 0, 1]


async def test_a_broken_table_leaves_the_rules_before_in_force(
    guard: Guard, folder: Path, tmp_path: Path
) -> None:
    await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
    wrong = rule("w", MatchBy.PATH, "no/absolute/path")
    with pytest.raises(AssertionError, match="rules before stay in force"):
        await guard.decide_by(wrong)
    (tmp_path / "run" / "exec-table.json").write_text("{")
    assert guard.enforcer._process is not None
    guard.enforcer._process.send(b"table")
    await asyncio.sleep(0.2)
    assert await guard.execute("game") == REFUSED
