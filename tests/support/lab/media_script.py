"""Runs inside a laptop: the sensors of media, of writes to them and of the clock, the core, and the enforcers of media
and telephones; says what they do with the time since boot.

python media_script.py allow|block|read-only|encrypted-only
"""

import asyncio
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.encrypting.desk import EncryptingDesk
from schoolkeeper_agent.enforcers.linux.media import MediaEnforcer
from schoolkeeper_agent.enforcers.linux.peripherals import PeripheralEnforcer
from schoolkeeper_agent.observations import ActionDone, Observation, PolicySwapped, SessionSeen
from schoolkeeper_agent.seams import Enforce, Record, Tell
from schoolkeeper_agent.sensors.linux.clock import ClockSensor
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_agent.sensors.linux.media_writes import MediaWritesSensor
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle

PERSON, PERSON_ID = "pupil", 1000
SAID = ("step_milliseconds", "state", "error", "files", "size_class")
WINDOW_S = 5.0
"""In which writes are counted together; a minute in the product."""


def bundle(access: str) -> OpenBundle:
    kinds = tuple(policy.CollectedKind(kind=cls.KIND, notice="said") for cls in model.BODY_CLASSES)
    rule = policy.MediaRule(
        text=policy.RuleText(rule_id="sticks"),
        access=policy.MediaAccess(access),
        plain=policy.MediaAccess.READ_ONLY,
        unknown=policy.MediaAccess.BLOCK,
    )
    return OpenBundle(
        hash=b"h",
        manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
        media=policy.MediaSection(rules=(rule,)),
        peripherals=policy.PeripheralsSection(rules=(no_telephones(),)),
        collection=policy.CollectionSection(kinds=kinds, pseudonym_key=b"k" * 32),
    )


def no_telephones() -> policy.PeripheralRule:
    return policy.PeripheralRule(
        text=policy.RuleText(rule_id="telephones"),
        kind=policy.PeripheralKind.PHONE,
        decision=model.DecisionKind.BLOCK,
    )


def say(*words: object) -> None:
    print(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f}", *words, flush=True)


def parts_around(heart: SimpleNamespace, run_dir: Path) -> Any:
    """What the desk needs of a running agent: no spool and no collector here."""
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    officer = SimpleNamespace(officer_id="technician", duties=("technician",), sealing_key=key)
    done: Future[bytes] = Future()
    done.set_result(b"e" * 16)
    return SimpleNamespace(
        settings=SimpleNamespace(run_dir=run_dir),
        heart=heart,
        clock=SimpleNamespace(now=lambda: SimpleNamespace(wall_ms=time.time_ns() // 1_000_000)),
        identity=SimpleNamespace(school_id="s", device_id=b"d" * 16),
        trust=SimpleNamespace(key_statement=SimpleNamespace(officers=(officer,), school_name="A School")),
        writer=SimpleNamespace(call=lambda _: done, state=lambda: SimpleNamespace(failing_because="")),
    )


async def main(access: str) -> None:
    in_force = bundle(access)
    context = Context(bundle=in_force, run_dir=Path("/run/schoolkeeper-agent"))
    enforcers = {one.name: one for one in (MediaEnforcer(context), PeripheralEnforcer(context))}
    queue: asyncio.Queue[object] = asyncio.Queue()
    sensors = (
        MediaSensor(context, person=lambda: (PERSON, PERSON_ID, None)),
        MediaWritesSensor(context, window=WINDOW_S),
        ClockSensor(),
    )
    running = [asyncio.create_task(one.run(queue.put_nowait)) for one in sensors]
    state = core.initial(in_force, run_id=b"r", able=frozenset(enforcers), place=model.Place.ON_SITE)
    heart = SimpleNamespace(state=state, emit=queue.put_nowait)
    queue.put_nowait(SessionSeen(session_id="1", account=PERSON, user_id=PERSON_ID))
    context.run_dir.mkdir(exist_ok=True)
    await EncryptingDesk(parts_around(heart, context.run_dir)).start()
    queue.put_nowait(PolicySwapped(bundle=in_force))
    await asyncio.sleep(0.2)
    say("ready")
    while not any(task.done() for task in running):
        seen: Observation = await queue.get()  # type: ignore[assignment]
        heart.state, effects = core.handle(heart.state, seen, time.time_ns() // 1_000_000)
        for effect in effects:
            if isinstance(effect, Record):
                medium = getattr(effect.body, "medium", None)
                said = (
                    ""
                    if medium is None
                    else f"{medium.serial} {medium.bus} {medium.encryption} {medium.file_system}"
                )
                say(effect.body.KIND, said, *(getattr(effect.body, name, "") for name in SAID))
            elif isinstance(effect, Tell):
                say("tell", effect.title)
            elif isinstance(effect, Enforce):
                queue.put_nowait(ActionDone(outcome=await enforcers[effect.enforcer].perform(effect.action)))


asyncio.run(main(sys.argv[1]))
