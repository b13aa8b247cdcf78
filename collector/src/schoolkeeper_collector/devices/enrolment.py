"""The enrolment listener's service: Enrol, Renew and Reach, over TLS that asks for no client certificate.

Handlers decode, look at the rate, hand the work to a thread and answer; a refusal carries a stable word in trailing
metadata and a sentence with the remedy.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc
import grpc.aio
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.detection.silence import write_fact
from schoolkeeper_collector.devices import fleet
from schoolkeeper_collector.devices.attempts import FailureLimit, address_of
from schoolkeeper_collector.devices.authority import Authority
from schoolkeeper_collector.devices.refusals import REASON_KEY, Reason, Refused
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import moves, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode
from schoolkeeper_proto.trust import TrustRefused

WEAKER_GROUP = "device.weaker_group"
SERVICE = "schoolkeeper_proto.v1.Enrolment"
_LOG = logging.getLogger(__name__)
_PUBLISH_SECONDS = 2.0
_REFRESH_SECONDS = 3_600.0
_AT_ONCE = 16

Q = TypeVar("Q", wire.EnrolRequest, wire.RenewRequest, wire.ReachRequest)
Context = grpc.aio.ServicerContext[bytes, bytes]


class EnrolmentService:
    """One per collector process. ``run`` keeps the signed group map and the timestamp current beside it."""

    def __init__(
        self,
        store: Store,
        keys: ServiceKeys,
        repository: Repository,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._keys = keys
        self._repository = repository
        self._authority = Authority(keys.school_id, keys.ca_key, keys.ca_certificate, keys.ca_retired)
        self._clock = clock
        self._failures = FailureLimit()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._map_changed = asyncio.Event()
        self._map_changed.set()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the three methods."""
        handlers = {
            "Enrol": self._method(wire.EnrolRequest, self._enrol),
            "Renew": self._method(wire.RenewRequest, self._renew),
            "Reach": self._method(wire.ReachRequest, self._reach),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def run(self) -> None:
        """Publishes the group map soon after devices came or went, and signs the timestamp anew in time."""
        while True:
            try:
                async with asyncio.timeout(_REFRESH_SECONDS):  # wait_for can swallow a cancellation
                    await self._map_changed.wait()
            except TimeoutError:
                pass
            else:
                self._map_changed.clear()
            if not await asyncio.to_thread(self.publish):
                self._map_changed.set()
            await asyncio.sleep(_PUBLISH_SECONDS)

    def publish(self) -> bool:
        """Blocks: the group map as the store has it, and a fresh timestamp when it is due. False: try again."""
        now = self._clock()
        with self._store.read() as connection:
            groups = fleet.active_groups(connection, self._keys.school_id)
        try:
            before = self._repository.current()
            after = self._repository.publish_groups(groups, self._keys.school_id, self._keys.online, now)
            if after.groups_version != before.groups_version:
                with self._store.write() as connection:
                    note_published(connection, self._keys.school_id, before, after, now)
            self._repository.refresh(self._keys.online, now)
        except (OSError, SQLAlchemyError, RepositoryError, NotPublished, TrustRefused):
            # Devices keep what they have and say that it is stale; the next round tries again.
            _LOG.exception("the trust repository could not be written")
            return False
        return True

    def _method(self, cls: type[Q], work: Callable[[Q, int], bytes]) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def handle(data: bytes, context: Context) -> bytes:
            return await self._answer(cls, work, data, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _answer(
        self, cls: type[Q], work: Callable[[Q, int], bytes], data: bytes, context: Context
    ) -> bytes:
        now = self._clock()
        address = address_of(context.peer())
        wait = self._failures.wait_ms(address, now)
        if wait:
            await _abort(
                context,
                Refused(
                    Reason.TOO_MANY, f"too many failed attempts from here: try again in {wait // 1000 + 1} s"
                ),
            )
        try:
            request = decode(cls, data)
            async with self._at_once:
                answer = await asyncio.to_thread(functools.partial(work, request, now))
            if isinstance(request, wire.EnrolRequest):
                self._map_changed.set()
            return answer
        except WireFormatError as error:
            refused = Refused(Reason.BAD_REQUEST, f"{error}: update the agent")
        except Refused as error:
            refused = error
        except (SQLAlchemyError, OSError):
            _LOG.exception("an enrolment or renewal failed")
            refused = Refused(
                Reason.FAILED,
                "the collector's own disk or database fails: try again in a minute; its log says more",
            )
        if refused.counts_as_attempt:
            self._failures.failed(address, now)
        _LOG.info("refused: %s", refused.reason.value)
        return await _abort(context, refused)

    def _enrol(self, request: wire.EnrolRequest, now_ms: int) -> bytes:
        if request.wire_major != wire.WIRE_MAJOR:
            raise Refused(
                Reason.WIRE_VERSION,
                f"the agent speaks version {request.wire_major}, this collector {wire.WIRE_MAJOR}: "
                "update the older one",
            )
        with self._store.write() as connection:
            done = fleet.enrol(connection, self._authority, self._keys.school_id, request, now_ms)
            try:
                targets = self._repository.target_files(done.group)
                metadata = self._repository.metadata_files()
                listed = self._repository.moves()
            except (RepositoryError, NotPublished, TrustRefused) as error:
                raise Refused(Reason.NO_BUNDLE, str(error)) from error
            if done.was_in and not moves.is_free(listed, done.was_in, done.group):
                _tell_weaker(connection, self._keys.school_id, done, now_ms)
        return encode(
            wire.EnrolResponse(
                school_id=self._keys.school_id,
                device_id=done.device_id,
                group=done.group,
                certificate_chain=(done.certificate.der, self._authority.der),
                root_metadata=tuple(self._repository.root_chain()),
                metadata=_named(metadata),
                targets=_named(targets),
                server_unix_ms=now_ms,
            )
        )

    def _renew(self, request: wire.RenewRequest, now_ms: int) -> bytes:
        with self._store.write() as connection:
            made = fleet.renew(connection, self._authority, self._keys.school_id, request, now_ms)
        return encode(
            wire.RenewResponse(certificate_chain=(made.der, self._authority.der), server_unix_ms=now_ms)
        )

    def _reach(self, request: wire.ReachRequest, now_ms: int) -> bytes:
        if len(request.nonce) > 64:
            raise Refused(Reason.BAD_REQUEST, "the nonce has more than 64 bytes: update the agent")
        signed = statements.sign_time(self._keys.school_id, now_ms, self._keys.command)
        return encode(
            wire.ReachResponse(
                school_id=self._keys.school_id,
                server_unix_ms=now_ms,
                time_statement=signed.statement,
                time_key_id=signed.key_id,
                time_signature=signed.signature,
            )
        )


def _tell_weaker(connection: Connection, school_id: str, done: fleet.Enrolled, now_ms: int) -> None:
    """A known machine comes again under weaker rules: a token's maker alone decides that, so the DSL hears of it."""
    number = fleet.number_of(connection, school_id, done.device_id)
    fields: dict[str, object] = {"from_group": done.was_in, "to_group": done.group}
    write_fact(connection, school_id, number, WEAKER_GROUP, fields, now_ms)


def _named(files: dict[str, bytes]) -> tuple[wire.NamedFile, ...]:
    return tuple(wire.NamedFile(name=name, data=data) for name, data in files.items())


async def _abort(context: Context, refused: Refused) -> NoReturn:
    await context.abort(refused.status, str(refused), ((REASON_KEY, refused.reason.value),))
    raise AssertionError("abort returns never")
