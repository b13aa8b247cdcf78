"""Runs inside a laptop: the session sensor, the core and the screen enforcer (with
``hold_media`` those of media, too), and says what they do, line by line.

python screen_script.py '{"idle_lock_seconds": 2}' 5   (fields of ``policy.ScreenSection``; how long a lock may take)

Looks, tries and last words come after a second here, and a minute's tick each second, so that nobody waits for a
quarter of an hour. Nothing else is quicker than in the agent.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from schoolkeeper_agent import core, locking
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux import screen
from schoolkeeper_agent.enforcers.linux.media import MediaEnforcer
from schoolkeeper_agent.observations import ActionDone, Observation, PolicySwapped, Tick
from schoolkeeper_agent.seams import Enforcer, Record, Sensor, Tell
from schoolkeeper_agent.sensors.linux import sessions
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle

SOON_MS = 1_000


def bundle(rule: dict[str, Any]) -> OpenBundle:
    kinds = tuple(policy.CollectedKind(kind=cls.KIND, notice="said") for cls in model.BODY_CLASSES)
    tokens = tuple(policy.SecurityToken(**token) for token in rule.pop("tokens", ()))
    return OpenBundle(
        hash=b"h",
        manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
        screen=policy.ScreenSection(text=policy.RuleText(rule_id="lock"), tokens=tokens, **rule),
        collection=policy.CollectionSection(kinds=kinds, pseudonym_key=b"k" * 32),
    )


def say(*words: object) -> None:
    print(*words, flush=True)


async def tick(queue: asyncio.Queue[object], busy: asyncio.Lock) -> None:
    """As in the agent, where a minute is longer than any lock: none comes while something is done."""
    while True:
        await asyncio.sleep(SOON_MS / 1000)
        async with busy:
            queue.put_nowait(Tick())


async def main(rule: dict[str, Any], lock_takes_s: float) -> None:
    locking.RETRY_MS = locking.LAST_WORDS_MS = SOON_MS
    screen.VERIFY_S = lock_takes_s
    sessions.LOOK_S = sessions.AGAIN_S = SOON_MS / 1000
    policy_in_force = bundle(rule)
    context = Context(bundle=policy_in_force, run_dir=Path("/run/schoolkeeper-agent"))
    sensors: list[Sensor] = [sessions.SessionSensor(context)]
    enforcers: dict[str, Enforcer] = {"screen": screen.ScreenEnforcer(context)}
    if rule.get("hold_media"):
        sensors.append(MediaSensor(context))
        enforcers["media"] = MediaEnforcer(context)
    say("able", *(part.ability().able for part in (*sensors, *enforcers.values())))
    queue: asyncio.Queue[object] = asyncio.Queue()
    queue.put_nowait(PolicySwapped(bundle=policy_in_force))
    busy = asyncio.Lock()
    running = [asyncio.create_task(sensor.run(queue.put_nowait)) for sensor in sensors]
    running.append(asyncio.create_task(tick(queue, busy)))
    state = core.initial(policy_in_force, run_id=b"r", able=frozenset(enforcers), place=model.Place.ON_SITE)
    while not any(task.done() for task in running):
        seen: Observation = await queue.get()  # type: ignore[assignment]
        state, effects = core.handle(state, seen, time.time_ns() // 1_000_000)
        for effect in effects:
            if isinstance(effect, Record):
                body = effect.body
                more = [getattr(body, name, "") for name in ("session_id", "cause", "detail")]
                say("record", body.KIND, effect.lane, *more)
            elif isinstance(effect, Tell):
                say("tell", effect.session_id, effect.title, effect.text)
            else:
                say("enforce", type(effect.action).__name__)
                async with busy:
                    outcome = await enforcers[effect.enforcer].perform(effect.action)
                queue.put_nowait(ActionDone(outcome=outcome))
    await asyncio.gather(*running)


asyncio.run(main(json.loads(sys.argv[1]), float(sys.argv[2])))
