"""The only place that constructs a running collector, and the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc
import structlog
from sqlalchemy import select

from schoolkeeper_collector.config import Settings, address_of
from schoolkeeper_collector.console_child import ConsoleChild
from schoolkeeper_collector.detection.engine import EVENTS
from schoolkeeper_collector.devices.authority import Authority
from schoolkeeper_collector.devices.enrolment import EnrolmentService
from schoolkeeper_collector.devices.identity import CertificateIdentities, RevocationList, keep_fresh
from schoolkeeper_collector.devices.listeners import enrol_credentials, uplink_credentials
from schoolkeeper_collector.following import Following
from schoolkeeper_collector.health import HealthServer
from schoolkeeper_collector.incidents.post import keep_sending, outbox_of
from schoolkeeper_collector.incidents.unread import unread, unread_fault
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.ingest.greeting import Terms
from schoolkeeper_collector.ingest.limits import DailyBudget
from schoolkeeper_collector.ingest.prepare import Preparer
from schoolkeeper_collector.ingest.preparing import PreparingThread
from schoolkeeper_collector.ingest.service import UplinkService
from schoolkeeper_collector.ingest.session import MAX_MESSAGE_BYTES
from schoolkeeper_collector.ingest.writer import Writer
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.metrics import render
from schoolkeeper_collector.published import PublishedPolicy
from schoolkeeper_collector.pulse import Pulse
from schoolkeeper_collector.reports.running import Reports
from schoolkeeper_collector.rollout.running import Rollouts
from schoolkeeper_collector.school.keeping import Keeping
from schoolkeeper_collector.school.keys import ServiceKeys, load_keys
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_collector.school.rotation import settle_online_key
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_collector.store.migrate import check_schema
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_collector.updates.gate import Gate
from schoolkeeper_collector.updates.handing import Handing
from schoolkeeper_collector.updates.packages import Packages
from schoolkeeper_proto.wire import Lane

_log = structlog.get_logger("bootstrap")
_SERVER_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", 8),
    # A laptop that went to sleep leaves a half-open connection: found within some minutes.
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    ("grpc.so_reuseport", 0),
    # Each of these costs memory per connection, and thousands of quiet devices gain nothing from them.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.enable_channelz", 0),
    ("grpc.max_channel_trace_event_memory_per_node", 0),
    # TLS records that we write, in bytes; a buffer of this size per connection. Our answers are short, and what
    # devices send is not concerned.
    ("grpc.tsi.max_frame_size", 2048),
]


class StartError(Exception):
    """The collector cannot start; names the place and the remedy."""


class Collector:
    """Everything of one school in one process. ``run`` serves until it is told to stop."""

    def __init__(
        self, settings: Settings, store: Store, keys: ServiceKeys, follower: Following | None
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        school_id = keys.school_id
        self.repository = Repository(settings.state_dir)
        self._published = PublishedPolicy(self.repository)
        self._following = follower
        self.sequencer = Sequencer(store, school_id, keys.ledger, f"{socket.gethostname()}:{os.getpid()}")
        self.keeping = Keeping(settings)
        self.expiry = Expiry(
            school_id, store.keystore, periods=self.keeping, waits_for=EVENTS if follower is not None else ""
        )
        terms = terms_of(settings)
        self.writer = Writer(
            store=store,
            school_id=school_id,
            sequencer=self.sequencer,
            ledger_keys=keys.ledger_public,
            command_signer=keys.command,
            terms=terms,
            budget=daily_budget(settings),
            policy_of=self._published.of,
            deliver=self._deliver,
            follower=follower,
            expiry=self.expiry,
        )
        self.pulse = Pulse(store, school_id, self.writer, follower)
        preparer = Preparer(school_id, keys.ingest, max_frames=settings.max_frames)
        self.preparing = PreparingThread(preparer, self.writer.submit, lambda: self.writer.crowded)
        self.revocations = RevocationList(school_id)
        authority = Authority(school_id, keys.ca_key, keys.ca_certificate, keys.ca_retired)
        packages = Packages(settings.state_dir)
        self.service = UplinkService(
            identities=CertificateIdentities(authority, self.revocations),
            preparing=self.preparing,
            writer_submit=self.writer.submit,
            directives=DirectiveSource(store, school_id),
            read_published=self._published.read_file,
            policy_of=self._published.of,
            terms=terms,
            in_flight_bytes=settings.in_flight_bytes,
            handing=Handing(packages, Gate(packages, store, school_id)),
        )
        self.enrolment = EnrolmentService(store, keys, self.repository)
        # A repository of its own: its thread reads while others do.
        self.rollouts = Rollouts(
            store, Repository(settings.state_dir), school_id, keys.online, settings.state_dir
        )
        self.reports = Reports(
            store,
            school_id,
            settings.state_dir,
            months=settings.snapshot_months,
            stale_days=settings.inventory_stale_days,
        )
        self.console = ConsoleChild()

    def _deliver(self, answers) -> None:  # type: ignore[no-untyped-def]
        self.service.deliver(answers)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Raises ``StartError``; otherwise returns once everything that was taken is answered."""
        term = await asyncio.to_thread(self.sequencer.take_office, _now_ms())
        async with AsyncExitStack() as stack:
            stack.callback(self.sequencer.leave_office)
            with self._store.read() as connection:
                self.revocations.load(connection)
            self.writer.start()
            stack.push_async_callback(asyncio.to_thread, self.writer.stop)
            self.preparing.start()
            stack.push_async_callback(asyncio.to_thread, self.preparing.stop)
            await self._listen(stack)
            await self._background(stack)
            _log.info("collector runs", school_id=self._keys.school_id, term=term)
            ready()
            await self._until(stop)
            _log.info("collector stops")
        if self.writer.stopped_because is not None:
            raise StartError(f"the writer ended: {self.writer.stopped_because}")

    def faults(self) -> list[str]:
        """What is wrong now, for the health endpoint."""
        found: list[str] = []
        if not self.writer.alive:
            found.append("the writer has ended: restart the collector")
        if self.writer.history_lost:
            found.append("restored from an older backup: run `schoolkeeper-collector recover`")
        if self._following is not None and self._following.pack_fault:
            found.append(self._following.pack_fault)
        if self.keeping.fault:
            found.append(self.keeping.fault)
        found += self.pulse.faults(_now_ms())
        with self._store.read() as connection:
            found += filter(None, [unread_fault(unread(connection, self._keys.school_id))])
        if self._settings.console_listen and not self.console.alive:
            found.append("the console does not run: its reason is in the log")
        return found

    def _metrics(self) -> bytes:
        return render(self.writer.counts, self.expiry.counts, self.service, self.sequencer, self.pulse)

    async def _listen(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        enrol, uplink = (grpc.aio.server(options=_SERVER_OPTIONS) for _ in range(2))
        self.enrolment.add_to(enrol)
        self.service.add_to(uplink)
        bind(enrol, settings.enrol_listen, enrol_credentials(settings.state_dir), "enrol_listen")
        bind(
            uplink,
            settings.uplink_listen,
            uplink_credentials(settings.state_dir, self._keys),
            "uplink_listen",
        )
        for server in (enrol, uplink):
            await server.start()
            stack.push_async_callback(server.stop, 2.0)
        # Before the servers stop: what was taken is answered, and every device is told when to come back.
        stack.push_async_callback(self.service.say_goodbye)

    async def _background(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        if settings.health_listen:
            health = HealthServer(self.faults, self._metrics)
            host, port = address_of(settings.health_listen, "health_listen")
            try:
                await health.start(host, port)
            except OSError as error:
                raise StartError(f"health_listen {settings.health_listen}: {error.strerror}") from error
            stack.push_async_callback(health.stop)
        works = [
            self.service.sweep(),
            keep_fresh(self.revocations, self._store),
            self.enrolment.run(),
            self._published.keep_fresh(self.service.announce_policy),
            self.rollouts.run(),
            self.reports.run(),
            self.pulse.keep_looking(_now_ms),
            keep_sending(outbox_of(settings, self._store, self._keys.school_id)),
        ]
        if settings.console_listen:
            works.append(self.console.run())
        for work in works:
            task = asyncio.create_task(work)
            stack.push_async_callback(_cancel, task)

    async def _until(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and self.writer.alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stop.wait()


def open_collector(
    settings: Settings, follower_of: Callable[[Store, ServiceKeys, Path], Following | None]
) -> Collector:
    """Opens keys and store and checks that they fit. Raises ``StartError`` and the parts' own errors."""
    # A publication that was cut off after the root named the next online key.
    settle_online_key(settings.state_dir)
    keys = load_keys(settings.state_dir)
    store = open_store(settings.store_url, settings.keys_url)
    check_schema(store)
    with store.read() as connection:
        found = connection.execute(select(schools.c.school_id)).scalars().all()
    if list(found) != [keys.school_id]:
        raise StartError(
            f"the database holds the schools {list(found)}, the keys in {settings.state_dir} are of "
            f"{keys.school_id!r}: check database_url and state_dir"
        )
    return Collector(settings, store, keys, follower_of(store, keys, settings.state_dir))


async def serve(collector: Collector) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await collector.run(stop)


def terms_of(settings: Settings) -> Terms:
    return Terms(
        max_batch_bytes=settings.max_batch_bytes,
        max_frames=settings.max_frames,
        window_batches=settings.window_batches,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def daily_budget(settings: Settings) -> DailyBudget:
    return DailyBudget(
        {
            Lane.CRITICAL: settings.daily_bytes_critical,
            Lane.NORMAL: settings.daily_bytes_normal,
            Lane.BULK: settings.daily_bytes_bulk,
        }
    )


def bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials, setting: str) -> int:
    """The bound port. Raises ``StartError`` naming the setting."""
    address_of(address, setting)
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartError(
            f"{setting} = {address} cannot be opened: another program uses it, or it is no address of this machine"
        ) from error
    if not port:
        raise StartError(f"{setting} = {address} cannot be opened")
    return port


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
