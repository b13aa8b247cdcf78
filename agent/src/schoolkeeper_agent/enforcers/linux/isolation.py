"""Takes a device off the network, all but its collector, and puts it back as it was (T-62; nftables).

The table is the kernel's, not this process's: it stays when the agent dies. Its text lies on the disk before it is
loaded, and a unit loads it before the network at the next start. Nothing else on the device is touched.

Afterwards it is tried: when the uplink hears the collector through it, it is confirmed. When it does not, connections
through the table and round it tell whose fault that is. Only where the table is to blame it is rolled back, said, and
tried again later; a cable that was pulled rolls nothing back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import Isolate, LiftIsolation
from schoolkeeper_agent.enforcers.linux import isolation_reach as reach
from schoolkeeper_agent.enforcers.linux.isolation_rules import FAMILY, TABLE, Endpoint, ruleset
from schoolkeeper_agent.enforcers.linux.isolation_store import Kept, Store
from schoolkeeper_agent.observations import IsolationTried
from schoolkeeper_agent.seams import Ability, Emit, Outcome

_SBIN = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
_NFT_S = 5.0
_LISTEN_S = 1.0
PATIENCE_S = 20.0
"""So long the uplink may take to be heard, before connections are tried by hand."""
KNOW_S = 3_600.0
"""So often are names of the collector looked up while the network is there."""
AGAIN_S = (300.0, 600.0, 1_800.0)
"""After a test that failed; the last one repeats."""
_log = logging.getLogger(__name__)


class IsolationEnforcer:
    """``rules`` and the seconds are arguments for the sake of tests."""

    name = "isolation"

    def __init__(
        self,
        context: Context,
        emit: Emit,
        *,
        rules: Callable[[Iterable[Endpoint]], str] = ruleset,
        patience_s: float = PATIENCE_S,
        again_s: tuple[float, ...] = AGAIN_S,
        know_s: float = KNOW_S,
    ) -> None:
        self._context, self._emit = context, emit
        self._rules, self._patience_s, self._again_s = rules, patience_s, again_s
        self._store = Store(context.state_dir)
        self._know_s = know_s
        self._trying: asyncio.Task[None] | None = None
        self._knowing: asyncio.Task[None] | None = None

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: nobody else may change the packet filter")
        if _program() is None:
            return Ability(
                able=False, because="nft is not installed (package nftables): it cannot be isolated"
            )
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        try:
            match action:
                case Isolate():
                    return self._done(action, await self._isolate(action))
                case LiftIsolation():
                    return self._done(action, await self._lift())
                case _:
                    why = f"{type(action).__name__} is not an action of this enforcer"
        except (OSError, ValueError, _NftError) as error:
            why = f"the network was left as it is: {error}" if isinstance(action, Isolate) else str(error)
        return Outcome(enforcer=self.name, action=action, succeeded=False, detail=why)

    def _done(self, action: object, detail: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=True, detail=detail)

    async def close(self) -> None:
        """The table stays: what officers signed does not end with this process."""
        await self._stop_trying()
        if self._knowing is not None:
            self._knowing.cancel()
            await asyncio.gather(self._knowing, return_exceptions=True)
            self._knowing = None

    async def _stop_trying(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
            self._trying = None

    # ---- on and off ------------------------------------------------------------------------------------

    async def _isolate(self, action: Isolate) -> str:
        ability = self.ability()
        if not ability.able:
            raise _NftError(ability.because)
        await self._stop_trying()
        before = self._store.load()
        kept = await self._put_in_place(action, before)
        self._trying = asyncio.create_task(self._try(action, kept))
        return f"{len(kept.allowed)} addresses of the collector stay reachable"

    async def _put_in_place(self, action: Isolate, before: Kept | None) -> Kept:
        allowed = await self._allowed(before)
        if not allowed:
            raise _NftError(
                "no address of the collector is known in numbers: it would be cut off from the school, too"
            )
        same = before is not None and before.in_place and before.grant_id == action.grant_id
        since = before.since_unix_ms if same and before is not None else time.time_ns() // 1_000_000
        kept = Kept(
            grant_id=action.grant_id,
            since_unix_ms=since,
            until_unix_ms=action.until_unix_ms,
            in_place=True,
            allowed=allowed,
        )
        text = self._rules(allowed)
        await asyncio.to_thread(self._store.keep, kept, text)
        try:
            await _nft("-f", "-", given=text)
            await _nft("list", "table", FAMILY, TABLE)
        except _NftError:
            if not same:
                self._store.forget()
            raise
        return kept

    async def _lift(self) -> str:
        """Empty when there was nothing to lift, else the grant it was for and how long ago it began."""
        await self._stop_trying()
        if self._knowing is None and self._context.has_root:
            self._knowing = asyncio.create_task(self._know())
        kept = self._store.load()
        there = self._context.has_root and _program() is not None and await _there()
        if kept is None and not there:
            return ""
        if there:
            await _nft("delete", "table", FAMILY, TABLE)
        self._store.forget()
        grant_id = kept.grant_id.hex() if kept is not None and kept.grant_id else "unknown"
        return f"{grant_id} lifted; nothing else was changed"

    async def _know(self) -> None:
        """Keeps what the collector's names stand for, so that an isolation needs no name server."""
        while True:
            with contextlib.suppress(OSError):
                await self._allowed(None)
            await asyncio.sleep(self._know_s)

    async def _allowed(self, before: Kept | None) -> tuple[Endpoint, ...]:
        wanted = self._context.collectors()
        known = self._store.known()
        found = await reach.resolve(wanted, known)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(
                self._store.know, known | {name: ends for name, ends in found.items() if ends}
            )
        numbers = {one for ends in found.values() for one in ends}
        if not numbers and before is not None:
            numbers = set(before.allowed)
        return tuple(sorted(numbers))

    # ---- the self-test ---------------------------------------------------------------------------------

    async def _try(self, action: Isolate, kept: Kept) -> None:
        """Until it is confirmed. Each answer is told once, not each try."""
        told, tries = "", 0
        while True:
            state, detail = await self._look(kept)
            if state == "rolled-back":
                kept = await self._roll_back(kept)
            if state != told:
                told = state
                self._emit(IsolationTried(grant_id=action.grant_id, state=state, detail=detail))
            if state == "on":
                return
            if state == "not-confirmed" and await self._moved(action, kept):
                kept = self._store.load() or kept
                continue
            await asyncio.sleep(self._again_s[min(tries, len(self._again_s) - 1)])
            tries += 1
            try:
                kept = await self._put_in_place(action, kept)
            except (OSError, ValueError, _NftError) as error:
                _log.error("the isolation could not be put back: %s", error)

    async def _moved(self, action: Isolate, kept: Kept) -> bool:
        """Whether the collector's name stands for other addresses now: then those are let through, too."""
        from schoolkeeper_agent.enforcers.linux import isolation_names

        files = (
            self._context.etc_root / "resolv.conf",
            self._context.run_root / "systemd/resolve/resolv.conf",
        )
        servers = isolation_names.name_servers(files)
        known = self._store.known()
        found: dict[str, tuple[Endpoint, ...]] = {}
        for address in self._context.collectors():
            host, port = reach.name_of(address)
            if host:
                answers = await isolation_names.ask(host, servers)
                ends = tuple(Endpoint(answer, port) for answer in answers)
                found[address] = tuple(dict.fromkeys((*ends, *known.get(address, ()))))[:16]
        if not {one for ends in found.values() for one in ends} - set(kept.allowed):
            return False
        await asyncio.to_thread(self._store.know, known | found)
        await self._put_in_place(action, kept)
        return True

    async def _look(self, kept: Kept) -> tuple[str, str]:
        heard = self._context.heard()
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            await asyncio.sleep(_LISTEN_S if self._patience_s > _LISTEN_S else self._patience_s / 4)
            if self._context.heard() != heard:
                return "on", "the collector was heard through it"
        if await reach.reachable(kept.allowed, round_it=False):
            return "not-confirmed", "the collector takes connections through it, and was not heard yet"
        if await reach.reachable(kept.allowed, round_it=True):
            return (
                "rolled-back",
                "the collector can be reached without it only: it was taken off, and is tried again",
            )
        return "not-confirmed", "the collector cannot be reached with or without it: it stays"

    async def _roll_back(self, kept: Kept) -> Kept:
        kept = replace(kept, in_place=False)
        try:
            await _nft("delete", "table", FAMILY, TABLE)
            await asyncio.to_thread(self._store.keep, kept, "")
        except (OSError, _NftError) as error:
            _log.error("the isolation could not be rolled back: %s", error)
        return kept


class _NftError(Exception):
    """nft refused; the message is its own."""


async def _there() -> bool:
    try:
        await _nft("list", "table", FAMILY, TABLE)
    except _NftError:
        return False
    return True


async def _nft(*arguments: str, given: str = "") -> None:
    await asyncio.to_thread(_run, arguments, given)


def _program() -> str | None:
    """Where nft is; by hand, because shutil brings three packers into the resident service."""
    found = (f"{folder}/nft" for folder in _SBIN)
    return next((path for path in found if os.access(path, os.X_OK)), None)


def _run(arguments: tuple[str, ...], given: str) -> None:
    program = _program()
    if program is None:
        raise _NftError("nft is not installed (package nftables)")
    try:
        done = subprocess.run(
            [program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=_NFT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NftError(f"nft: {error}") from error
    if done.returncode != 0:
        raise _NftError(f"nft {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[:300]}")
