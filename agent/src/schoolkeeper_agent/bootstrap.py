"""The only place that constructs: from settings to a running agent, and back to an exit code."""

from __future__ import annotations

import asyncio
import logging
import sys

from schoolkeeper_agent.clock import SystemClock
from schoolkeeper_agent.config import Settings
from schoolkeeper_agent.identity import Identity, IdentityError, hide_key, load_identity
from schoolkeeper_agent.policy_file import policy_at_start
from schoolkeeper_agent.service import Service
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_agent.status_socket import serve
from schoolkeeper_agent.system import here
from schoolkeeper_agent.trust import Trust, TrustDamaged, load_trust, update_trust
from schoolkeeper_agent.waiting import WaitingNote

_log = logging.getLogger(__name__)


class StartRefused(Exception):
    """The agent cannot run here; names the place and the remedy."""


def run(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; 0 after an orderly end."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    prepare_folders(settings)
    asyncio.run(_run(settings))
    return 0


def prepare_folders(settings: Settings) -> None:
    """Makes the state folder (0700) and the run folder (0755). Raises ``StartRefused``."""
    for path, everyone_reads in ((settings.state_dir, False), (settings.run_dir, True)):
        try:
            here.make_folder(path, everyone_reads=everyone_reads)
        except OSError as error:
            raise StartRefused(
                f"{path}: {error}; run as {here.ADMINISTRATOR}, or set state_dir and run_dir to folders of your own"
            ) from error


async def _run(settings: Settings) -> None:
    ended = asyncio.Event()
    service: list[Service] = []

    def stop(reason: str) -> None:
        ended.set()
        for running in service:
            running.stop(reason)

    here.on_stop(stop)
    manager = ServiceManager()
    making = asyncio.create_task(_make(settings, manager))
    waiting = asyncio.create_task(ended.wait())
    pulse = asyncio.create_task(_pulse(manager))
    await asyncio.wait({making, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    pulse.cancel()
    if not making.done():
        making.cancel()
        return
    made = making.result()
    service.append(made)
    running = asyncio.create_task(made.run())
    server = await serve(settings.run_dir, made.report)
    try:
        await running
    finally:
        server.close()


async def _pulse(manager: ServiceManager) -> None:
    """Systemd hears of us also while we wait for enrolment or for a policy."""
    while manager.watchdog_seconds:
        manager.alive()
        await asyncio.sleep(manager.watchdog_seconds / 2)


async def _make(settings: Settings, manager: ServiceManager) -> Service:
    clock = SystemClock()
    exposed = hide_key(settings.state_dir)
    if exposed:
        _log.warning("%s", exposed)
    identity = await _identity(settings, clock, manager)
    trust = await _trust(settings, clock, identity, manager)
    return Service(
        settings=settings,
        clock=clock,
        identity=identity,
        trust=trust,
        policy=policy_at_start(trust, settings.state_dir),
        manager=manager,
        exposed_key=exposed,
    )


async def _identity(settings: Settings, clock: SystemClock, manager: ServiceManager) -> Identity:
    """The device's identity; before enrolment it waits for one."""
    try:
        identity = load_identity(settings.state_dir)
    except IdentityError as error:
        raise StartRefused(str(error)) from error
    if identity is not None:
        return identity
    from schoolkeeper_agent.enrol_unattended import enrol_unattended

    manager.ready("waiting for enrolment")
    _log.info("not enrolled yet: waiting for `schoolkeeper-agent enrol`, or for an enrolment file")
    note = WaitingNote(settings.run_dir, "enrolment", clock.wall_ms())
    try:
        result = await enrol_unattended(
            settings.state_dir,
            say=_log.warning,
            wall_ms=clock.wall_ms,
            tried=lambda because: note.tried(because, clock.wall_ms()),
        )
    finally:
        note.close()
    return result.identity


async def _trust(
    settings: Settings, clock: SystemClock, identity: Identity, manager: ServiceManager
) -> Trust:
    """The policy and keys in force; when they do not verify any more, it fetches them again until they do."""
    trust, _ = _trust_held(settings)
    if trust is not None:
        return trust
    note = WaitingNote(settings.run_dir, "a policy that verifies", clock.wall_ms())
    try:
        return await _trust_again(settings, clock, identity, manager, note)
    finally:
        note.close()


def _trust_held(settings: Settings) -> tuple[Trust | None, str]:
    """What is on the disk and verifies; otherwise None and why."""
    try:
        return load_trust(settings.state_dir), "there is no policy yet"
    except TrustDamaged as error:
        return None, str(error)


async def _trust_again(
    settings: Settings, clock: SystemClock, identity: Identity, manager: ServiceManager, note: WaitingNote
) -> Trust:
    wait = 5.0
    while True:
        _, problem = _trust_held(settings)
        manager.ready(problem)
        _log.error("%s; fetching it again", problem)
        failed = await _fetch_trust(settings, clock, identity)
        trust, problem = _trust_held(settings)
        if trust is not None:
            return trust
        note.tried(f"{problem}; {failed}" if failed else problem, clock.wall_ms())
        await asyncio.sleep(wait)
        wait = min(300.0, wait * 2)


async def _fetch_trust(settings: Settings, clock: SystemClock, identity: Identity) -> str:
    """Asks each collector for the signed set; returns why none of them gave it, empty when one did."""
    from schoolkeeper_agent.addresses import known_addresses
    from schoolkeeper_agent.net import AddressError, fetch_from, open_channel, parse_proxy

    known = known_addresses(settings.state_dir, identity, None, extra_uplink=settings.uplink_addresses)
    failed = "no collector's address is known"
    for address in known.uplink:
        try:
            async with open_channel(
                address, identity.ca_pem, identity, parse_proxy(settings.proxy)
            ) as channel:
                update = await update_trust(settings.state_dir, fetch_from(channel), now_ms=clock.wall_ms())
        except (AddressError, OSError) as error:
            failed = f"{address}: {error}"
            _log.error("%s", failed)
            continue
        if not update.refused:
            return ""
        failed = f"{address}: {update.refused}: {update.message}"
        _log.error("%s", failed)
    return failed
