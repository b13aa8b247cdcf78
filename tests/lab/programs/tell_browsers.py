"""Runs inside a laptop as the agent's unit: tells browsers one rule, says what is disturbed, and ends when asked to."""

import asyncio
import signal
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers
from schoolkeeper_agent.enforcers.linux import browsers
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle

browsers.GRACE_S = 4
RULE = policy.BrowserRule(text=policy.RuleText(rule_id="r"), private_windows=policy.Switch.BLOCKED)


async def main() -> None:
    manifest = policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0)
    context = Context(
        bundle=OpenBundle(hash=b"", manifest=manifest),
        run_dir=Path("/run/schoolkeeper-agent"),
        browser_root=Path("/etc"),
    )
    enforcer = browsers.BrowserEnforcer(context, lambda seen: print("told", seen.body.detail, flush=True))  # type: ignore[attr-defined]
    outcome = await enforcer.perform(ApplyBrowsers(section=policy.BrowserSection(settings=(RULE,))))
    print("applied", outcome.succeeded, outcome.detail, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await enforcer.close()


asyncio.run(main())
