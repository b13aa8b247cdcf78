"""The whole conversation: the person's command, the worker and the service's desk, over real sockets, on a real device.

A stand-in are only the parts around the desk: no spool and no collector.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_agent import core
from schoolkeeper_agent.encrypting.command import Asking, NotEncrypted
from schoolkeeper_agent.encrypting.desk import EncryptingDesk
from schoolkeeper_agent.encrypting.window import shown_in_window
from schoolkeeper_agent.encrypting.worker import CATEGORY, serve
from schoolkeeper_agent.observations import MediumArrived, PolicySwapped, SessionSeen
from schoolkeeper_agent.seams import Enforce, Record
from schoolkeeper_agent.sensors.linux.block_device import look_inside, sequence_of
from schoolkeeper_proto import model, policy, sealing
from support.core_playbook import MONDAY_10, bundle_of
from support.loop import Loop, loop_device

pytestmark = pytest.mark.skipif(not shutil.which("cryptsetup"), reason="cryptsetup is not installed")
PASSPHRASE = "three or four words"
SCHOOL, DEVICE, EPOCH = "school-1", b"d" * 16, b"e" * 16
KEYS = {name: X25519PrivateKey.generate() for name in ("technician", "dsl")}


def rule(access: policy.MediaAccess = policy.MediaAccess.ENCRYPTED_ONLY) -> policy.MediaSection:
    return policy.MediaSection(
        rules=(
            policy.MediaRule(
                text=policy.RuleText(rule_id="sticks"), access=access, plain=policy.MediaAccess.BLOCK
            ),
        )
    )


@dataclass
class Heart:
    """The core and what it asks for; no enforcer."""

    state: core.CoreState
    records: list[Record] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def emit(self, seen: Any) -> None:
        self.state, effects = core.handle(self.state, seen, MONDAY_10)
        for effect in effects:
            if isinstance(effect, Record):
                self.records.append(effect)
            elif isinstance(effect, Enforce):
                self.asked.append(effect.action)

    def states(self) -> list[str]:
        return [one.body.state for one in self.records if isinstance(one.body, model.MediumEncrypted)]


@dataclass
class School:
    heart: Heart
    parts: Any
    socket_path: Path


@pytest.fixture
def loop() -> Iterator[Loop]:
    with loop_device() as made:
        yield made


def medium_of(loop: Loop) -> model.Medium:
    held = look_inside(Path(f"/dev/{loop.name}"), 32 << 20)
    return model.Medium(
        kernel_name=loop.name, serial="S1", bus="usb", size_bytes=32 << 20, encryption=held.encryption,
        file_system=held.file_system,
    )  # fmt: skip


@contextlib.contextmanager
def school(
    folder: Path,
    loop: Loop,
    *,
    access: policy.MediaAccess = policy.MediaAccess.ENCRYPTED_ONLY,
    titles: dict[str, str] | None = None,
) -> Iterator[School]:
    """The desk in an event loop of its own thread, and a listener that gives each connection to a worker."""
    heart = Heart(state=core.initial(bundle_of(rule(access)), run_id=b"r", able=frozenset({"media"})))
    heart.emit(PolicySwapped(bundle=bundle_of(rule(access))))
    heart.emit(SessionSeen(session_id="1", account="ann", user_id=os.geteuid()))
    heart.emit(
        MediumArrived(
            medium=medium_of(loop), sequence=sequence_of(loop.disk), account="ann", user_id=os.geteuid()
        )
    )
    titles = titles if titles is not None else {"technician": "technician", "dsl": "dsl"}
    officers = [
        SimpleNamespace(
            officer_id=name, duties=(title,), sealing_key=KEYS[name].public_key().public_bytes_raw()
        )
        for name, title in titles.items()
    ]

    def call(work: Callable[[Any], Any]) -> Any:
        from concurrent.futures import Future

        done: Future[Any] = Future()
        done.set_result(work(SimpleNamespace(epoch=EPOCH)))
        return done

    parts = SimpleNamespace(
        settings=SimpleNamespace(run_dir=folder),
        heart=heart,
        clock=SimpleNamespace(now=lambda: SimpleNamespace(wall_ms=MONDAY_10)),
        identity=SimpleNamespace(school_id=SCHOOL, device_id=DEVICE),
        trust=SimpleNamespace(key_statement=SimpleNamespace(officers=officers, school_name="A School")),
        writer=SimpleNamespace(call=call, state=lambda: SimpleNamespace(failing_because="")),
    )
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever, daemon=True)
    thread.start()
    desk = EncryptingDesk(parts)  # type: ignore[arg-type]
    asyncio.run_coroutine_threadsafe(desk.start(), running).result(30)
    path = folder / "encrypt.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    # This machine's kernel has no dm-crypt: the file system inside is the virtual laptop's to show.
                    serve(connection, folder, inside=False, unlock_ms=100)

    worker = threading.Thread(target=accept, daemon=True)
    worker.start()
    try:
        yield School(heart, parts, path)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        worker.join(30)
        asyncio.run_coroutine_threadsafe(desk.close(), running).result(30)
        running.call_soon_threadsafe(running.stop)
        thread.join(30)


@pytest.mark.requirement("T-45")
def test_a_refused_stick_is_encrypted_its_key_sealed_to_the_technician_alone_and_shown_to_the_owner(
    tmp_path: Path, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    shares: list[tuple[str, float]] = []
    with school(tmp_path, loop) as here:
        asking = Asking(here.socket_path)
        offer = asking.ask()
        assert (offer.device, offer.size, offer.holds, offer.school) == (
            loop.name,
            32 << 20,
            "blank",
            "A School",
        )
        finished = asking.encrypt(PASSPHRASE, lambda doing, share: shares.append((doing, share)))
        asking.close()
    assert here.heart.states() == ["begun", "done"]
    assert shares[0][0] == "overwriting"
    assert ("overwriting", 1.0) in shares
    begun = next(one for one in here.heart.records if isinstance(one.body, model.MediumEncrypted))
    assert isinstance(begun.body, model.MediumEncrypted)
    field_ = begun.body.recovery_key
    assert field_ is not None
    assert field_.recipients == ("technician",)
    binding = sealing.Binding(school_id=SCHOOL, device_id=DEVICE, epoch=EPOCH)
    context = sealing.FieldContext(binding=binding, event_id=begun.event_id, category=CATEGORY)
    key = sealing.open_field(field_, context, sealing.unwrap_key(field_, context, KEYS["technician"]))
    assert key.decode() == finished.recovery_key
    assert begun.body.reference == finished.reference
    with pytest.raises(sealing.SealingError):
        sealing.unwrap_key(field_, context, KEYS["dsl"])
    # Neither secret is in an event, in what the enforcers are asked, or in a log.
    said = f"{[one.body for one in here.heart.records]}{here.heart.asked}{caplog.text}"
    assert PASSPHRASE not in said
    assert finished.recovery_key not in said


def test_while_it_is_encrypted_the_core_leaves_it_alone_and_judges_it_afterwards(
    tmp_path: Path, loop: Loop
) -> None:
    with school(tmp_path, loop) as here:
        asking = Asking(here.socket_path)
        asking.ask(loop.name)
        during: list[bool] = []
        asking.encrypt(PASSPHRASE, lambda *_: during.append(here.heart.state.media[loop.name].encrypting))
        asking.close()
        assert all(during)
        assert not here.heart.state.media[loop.name].encrypting
        here.heart.asked.clear()
        luks = model.Medium(
            kernel_name=loop.name, serial="S1", bus="usb", encryption=model.MediumEncryption.LUKS2
        )
        here.heart.emit(MediumArrived(medium=luks, sequence=sequence_of(loop.disk), user_id=os.geteuid()))
        assert [action.access for action in here.heart.asked] == [policy.MediaAccess.ALLOW]


@pytest.mark.parametrize("leave", [Asking.close, Asking.hang_up])
def test_who_cancels_leaves_a_stick_that_is_said_to_be_unfinished(
    tmp_path: Path, loop: Loop, leave: Callable[[Asking], None]
) -> None:
    with school(tmp_path, loop) as here:
        asking = Asking(here.socket_path)
        asking.ask()
        asking._say(lose=True, passphrase=PASSPHRASE)
        leave(asking)
    assert here.heart.states() == ["begun", "failed"]
    assert medium_of(loop).file_system == "unfinished"
    assert not here.heart.state.media[loop.name].encrypting
    (tmp_path / "again").mkdir()
    with school(tmp_path / "again", loop) as here:  # and it can be encrypted again, to the end
        asking = Asking(here.socket_path)
        assert asking.ask().holds == "unfinished"
        asking.encrypt(PASSPHRASE, lambda *_: None)
    assert here.heart.states() == ["begun", "done"]


@pytest.mark.parametrize(
    ("access", "titles", "device", "why"),
    [
        (policy.MediaAccess.BLOCK, None, "", "nothing is to be encrypted"),
        (policy.MediaAccess.ENCRYPTED_ONLY, {"dsl": "dsl"}, "", "no technician"),
        (policy.MediaAccess.ENCRYPTED_ONLY, None, "sdq", "no stick of yours"),
    ],
)
def test_what_is_refused_before_anything_is_touched(
    tmp_path: Path,
    loop: Loop,
    access: policy.MediaAccess,
    titles: dict[str, str] | None,
    device: str,
    why: str,
) -> None:
    before = loop.image.read_bytes()
    with school(tmp_path, loop, access=access, titles=titles) as here, pytest.raises(NotEncrypted, match=why):
        Asking(here.socket_path).ask(device)
    assert here.heart.states() == []
    assert loop.image.read_bytes() == before


def test_another_accounts_stick_and_nobody_signed_in(tmp_path: Path, loop: Loop) -> None:
    with school(tmp_path, loop) as here:
        mine = here.heart.state.media[loop.name]
        here.heart.emit(MediumArrived(medium=mine.medium, sequence=99, account="bob", user_id=4242))
        with pytest.raises(NotEncrypted, match="no stick of yours"):
            Asking(here.socket_path).ask()
        here.heart.state = core.initial(bundle_of(rule()), run_id=b"r", able=frozenset({"media"}))
        with pytest.raises(NotEncrypted, match="not signed in"):
            Asking(here.socket_path).ask()


def test_a_weak_passphrase_and_a_no_change_nothing(tmp_path: Path, loop: Loop) -> None:
    before = loop.image.read_bytes()
    with school(tmp_path, loop) as here:
        asking = Asking(here.socket_path)
        asking.ask()
        with pytest.raises(NotEncrypted, match="fewer than 12"):
            asking.encrypt("short", lambda *_: None)
    assert here.heart.states() == []
    assert loop.image.read_bytes() == before


def test_without_the_agent_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotEncrypted, match="does not encrypt media on this device"):
        Asking(tmp_path / "none.sock").ask()


_WINDOW = """
import json, sys
said = json.loads(sys.stdin.readline())["form"]
assert "not allowed here" in said["why"], said
print(json.dumps({"passphrase": "short"}), flush=True)
assert "again" in json.loads(sys.stdin.readline())
print(json.dumps({"passphrase": %r}), flush=True)
while "finished" not in (heard := json.loads(sys.stdin.readline())):
    assert "share" in heard
assert "recovery key" in heard["finished"]
"""


def test_what_is_pressed_in_the_window_is_done(tmp_path: Path, loop: Loop) -> None:
    """The window's own part is played by a program: shown is what the other one does with it."""
    form = tmp_path / "form.py"
    form.write_text(_WINDOW % PASSPHRASE)
    with school(tmp_path, loop) as here:
        assert shown_in_window(path=here.socket_path, form_file=form) == 0
    assert here.heart.states() == ["begun", "done"]


def test_without_a_stick_the_window_says_why(tmp_path: Path) -> None:
    form = tmp_path / "form.py"
    form.write_text(
        "import json, sys; sys.exit(0 if json.loads(sys.stdin.readline())['form']['problem'] else 9)"
    )
    assert shown_in_window(path=tmp_path / "nobody", form_file=form) == 1
