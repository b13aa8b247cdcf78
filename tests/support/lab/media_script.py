"""Runs inside a laptop: media and clock sensor, core and media enforcer; says what they do with the time since boot.

python media_script.py block|read-only|encrypted-only
"""

import asyncio
import sys
import time
from pathlib import Path

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.media import MediaEnforcer
from schoolkeeper_agent.observations import ActionDone, Observation, PolicySwapped
from schoolkeeper_agent.seams import Enforce, Record, Tell
from schoolkeeper_agent.sensors.linux.clock import ClockSensor
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle


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
        collection=policy.CollectionSection(kinds=kinds, pseudonym_key=b"k" * 32),
    )


def say(*words: object) -> None:
    print(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f}", *words, flush=True)


async def main(access: str) -> None:
    in_force = bundle(access)
    context = Context(bundle=in_force, run_dir=Path("/run/schoolkeeper-agent"))
    enforcer = MediaEnforcer(context)
    queue: asyncio.Queue[object] = asyncio.Queue()
    running = [
        asyncio.create_task(one.run(queue.put_nowait)) for one in (MediaSensor(context), ClockSensor())
    ]
    state = core.initial(in_force, run_id=b"r", able=frozenset({"media"}), place=model.Place.ON_SITE)
    queue.put_nowait(PolicySwapped(bundle=in_force))
    await asyncio.sleep(0.2)
    say("ready")
    while not any(task.done() for task in running):
        seen: Observation = await queue.get()  # type: ignore[assignment]
        state, effects = core.handle(state, seen, time.time_ns() // 1_000_000)
        for effect in effects:
            if isinstance(effect, Record):
                medium = getattr(effect.body, "medium", None)
                said = (
                    ""
                    if medium is None
                    else f"{medium.serial} {medium.bus} {medium.encryption} {medium.file_system}"
                )
                step = getattr(effect.body, "step_milliseconds", "")
                say(effect.body.KIND, said, step, getattr(effect.body, "error", ""))
            elif isinstance(effect, Tell):
                say("tell", effect.title)
            elif isinstance(effect, Enforce):
                queue.put_nowait(ActionDone(outcome=await enforcer.perform(effect.action)))


asyncio.run(main(sys.argv[1]))
