"""Runs inside a laptop: the session sensor, the core and the screen enforcer, and says what they do, line by line.

python screen_script.py IDLE_LOCK_SECONDS
"""

import asyncio
import sys
import time
from pathlib import Path

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.screen import ScreenEnforcer
from schoolkeeper_agent.observations import ActionDone, Observation
from schoolkeeper_agent.seams import Enforce, Record
from schoolkeeper_agent.sensors.linux.sessions import SessionSensor
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle


def bundle(seconds: int) -> OpenBundle:
    kinds = tuple(policy.CollectedKind(kind=cls.KIND, notice="said") for cls in model.BODY_CLASSES)
    return OpenBundle(
        hash=b"h",
        manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
        screen=policy.ScreenSection(text=policy.RuleText(rule_id="lock"), idle_lock_seconds=seconds),
        collection=policy.CollectionSection(kinds=kinds, pseudonym_key=b"k" * 32),
    )


async def main(seconds: int) -> None:
    policy_in_force = bundle(seconds)
    context = Context(bundle=policy_in_force, run_dir=Path("/run"))
    sensor, enforcer = SessionSensor(context), ScreenEnforcer(context)
    print("able", sensor.ability().able, enforcer.ability().able, flush=True)
    queue: asyncio.Queue[object] = asyncio.Queue()
    running = asyncio.create_task(sensor.run(queue.put_nowait))
    state = core.initial(policy_in_force, run_id=b"r", able=frozenset({"screen"}), place=model.Place.ON_SITE)
    while not running.done():
        seen: Observation = await queue.get()  # type: ignore[assignment]
        state, effects = core.handle(state, seen, time.time_ns() // 1_000_000)
        for effect in effects:
            if isinstance(effect, Record):
                print(
                    "record",
                    effect.body.KIND,
                    effect.lane,
                    getattr(effect.body, "cause", ""),
                    getattr(effect.body, "detail", ""),
                    flush=True,
                )
            elif isinstance(effect, Enforce):
                print("enforce", flush=True)
                queue.put_nowait(ActionDone(outcome=await enforcer.perform(effect.action)))


asyncio.run(main(int(sys.argv[1])))
