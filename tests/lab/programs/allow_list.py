"""Runs inside a laptop, in the agent's own unit: refuses what people brought along, on every file system, until it is
stopped. Says "guarding" when it does."""

import asyncio
import sys
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import GuardApplications
from schoolkeeper_agent.enforcers.linux.applications import ApplicationEnforcer
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import build, open_bundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy


def match(by: MatchBy, text: str) -> tuple[policy.ApplicationMatch, ...]:
    return (policy.ApplicationMatch(by=by, text=text),)


RULE = policy.ApplicationRule(
    text=policy.RuleText(rule_id="brought-along"),
    decision=DecisionKind.BLOCK,
    matches=match(MatchBy.ORIGIN, "personal"),
    unless=match(MatchBy.PATH_PATTERN, "/home/*/lessons/**"),
)


async def main() -> None:
    data = build(school_id="s", group="g", version=1, compiled_at_unix_ms=0, sections=())
    bundle = open_bundle(data, school_id="s", group="g", capabilities=frozenset())
    enforcer = ApplicationEnforcer(Context(bundle=bundle, run_dir=Path("/run/probe")), lambda _: None)
    outcome = await enforcer.perform(GuardApplications(section=policy.ApplicationsSection(rules=(RULE,))))
    print("guarding" if outcome.succeeded else outcome.detail, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
