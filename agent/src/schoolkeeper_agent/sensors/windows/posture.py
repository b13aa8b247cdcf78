"""Posture checks on Windows, as far as the registry tells; every other one is unknown, with the reason (T-43)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit
from schoolkeeper_agent.sensors.linux import posture_parsers
from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_agent.sensors.windows import checks
from schoolkeeper_agent.sensors.windows.registry import Registry
from schoolkeeper_proto import model
from schoolkeeper_proto.policy import PostureCheck
from schoolkeeper_proto.posture import Check

MEDIA = "removable-media"
"""The registry beside the rules on media: told for every such rule at once, the worst first."""
_SHORTEST_S = 60
_MEDIA_EVERY_S = 3_600
_NOT_READ: Mapping[str, str] = {
    Check.DISK_ENCRYPTION: "BitLocker's state is told by WMI and manage-bde, which the preview does not ask",
    Check.ANTIVIRUS: "Windows' Security Center is not asked by the preview",
    Check.UPDATES: "Windows Update is not asked by the preview",
    Check.PASSWORD_LENGTH: "the accounts' rules are not read by the preview",
    Check.PASSWORD_AGE: "the accounts' rules are not read by the preview",
    Check.ADMINISTRATORS: "the groups of accounts are not read by the preview",
    Check.GUEST_ACCOUNTS: "the accounts are not read by the preview",
    Check.AGENT_INTEGRITY: "the preview's files are not compared with a list",
    Check.CONTENT_FILTER: "the filter is not tried by the preview",
    Check.CEOP_SHORTCUT: "the menu is not read by the preview",
}
_WORST = (model.PostureResult.FAIL, model.PostureResult.UNKNOWN, model.PostureResult.PASS)


class PostureSensor:
    """Reads settings only; the checks' own intervals hold."""

    name = "posture"
    kinds = (model.Posture.KIND,)

    def __init__(self, context: Context, registry: Registry) -> None:
        self._bundle = context.bundle
        self._readers: dict[str, Callable[[PostureCheck], Finding]] = {
            Check.LOCK: lambda _: self._lock(),
            Check.FIREWALL: lambda _: checks.firewall(registry),
            Check.SECURE_BOOT: lambda _: checks.secure_boot(registry),
            Check.AUTO_LOGIN: lambda _: checks.auto_login(registry),
            Check.SITE_LISTS: self._site_lists,
            MEDIA: lambda _: self._media(),
        }
        self._registry = registry

    def ability(self) -> Ability:
        untold = [one.check for one in self._bundle.posture.checks if one.check not in self._readers]
        return Ability(able=True, because=f"reported as unknown: {', '.join(untold)}" if untold else "")

    async def run(self, emit: Emit) -> None:
        told = list(self._bundle.posture.checks)
        if self._bundle.media.rules:
            told.append(PostureCheck(check=MEDIA, every_seconds=_MEDIA_EVERY_S))
        async with asyncio.TaskGroup() as tasks:
            for check in told:
                tasks.create_task(self._repeat(check, emit))

    async def _repeat(self, check: PostureCheck, emit: Emit) -> None:
        while True:
            emit(self.read(check))
            await asyncio.sleep(max(_SHORTEST_S, check.every_seconds))

    def read(self, check: PostureCheck) -> observations.PostureRead:
        """One check, now."""
        reader = self._readers.get(check.check)
        if reader is None:
            finding = unknown(
                _NOT_READ.get(check.check, "this agent does not know the check: update the agent")
            )
        else:
            try:
                finding = reader(check)
            except OSError as error:
                finding = unknown(f"the registry could not be read: {error}")
        return observations.PostureRead(
            check=check.check,
            result=finding.result,
            evidence=finding.evidence,
            unknown_because=finding.because,
        )

    def _lock(self) -> Finding:
        screen = self._bundle.screen
        return checks.lock(self._registry, within_seconds=screen.idle_lock_seconds if screen else 0)

    def _media(self) -> Finding:
        found = [checks.media(self._registry, rule) for rule in self._bundle.media.rules]
        return min(found, key=lambda one: _WORST.index(one.result))

    def _site_lists(self, check: PostureCheck) -> Finding:
        manifest = self._bundle.manifest
        return posture_parsers.site_lists(
            manifest.version,
            posture_parsers.time_of(manifest.compiled_at_unix_ms / 1000),
            now=posture_parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )
