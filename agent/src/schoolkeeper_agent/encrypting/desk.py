"""The service's side: whose stick it is, whether a rule lets it be encrypted, and what is written down of it.

Spoken to by the worker alone (root; the socket's file says so and the kernel is asked as well). While a stick is being
encrypted the core leaves it alone; a worker that dies gives it back.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schoolkeeper_agent import media
from schoolkeeper_agent.effects import event_id
from schoolkeeper_agent.encrypting.lines import MAX_LINE, LineMistake, parse, text
from schoolkeeper_agent.observations import MediumEncrypting
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.peers import peer_of
from schoolkeeper_agent.spool.contract import SpoolError
from schoolkeeper_agent.state import CoreState, HeldMedium
from schoolkeeper_agent.system import here
from schoolkeeper_proto import decide, model
from schoolkeeper_proto.codec import WireFormatError, decode

NAME = "media.sock"
TECHNICIANS = frozenset({"technician", "network-manager", "technical"})
"""Titles of the key statement whose holders keep recovery keys; officers of safeguarding never do."""
_KEPT_S, _LOOK_S = 10.0, 0.05
_log = logging.getLogger(__name__)


class _No(Exception):
    """In words for the person."""


@dataclass(slots=True, kw_only=True)
class _Job:
    held: HeldMedium
    user_id: int
    account: str
    event_id: bytes
    epoch: bytes
    reference: str = ""
    begun: bool = False


@dataclass(slots=True)
class EncryptingDesk:
    """All methods are called in the event loop. ``name`` is the socket's, in the run folder."""

    parts: Parts
    name: str = NAME
    _server: asyncio.Server | None = field(default=None, init=False)

    async def start(self) -> None:
        path = self._path
        path.unlink(missing_ok=True)
        self._server = await here.start_local_server(self._joined, path, limit=MAX_LINE)
        path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.parts.settings.run_dir / self.name

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job: _Job | None = None
        try:
            if peer_of(writer.get_extra_info("socket")).user_id not in (0, os.geteuid()):
                return
            job = await self._asked(parse(await reader.readline()), writer)
            while line := await reader.readline():
                await self._heard(job, parse(line), writer)
        except _No as no:
            _say(writer, no=str(no))
        except (OSError, ValueError) as error:
            _log.info("a request to encrypt ended: %s", type(error).__name__)
        finally:
            if job is not None and job.begun:
                self._emit(job, "failed", detail="it ended before its end")
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()

    async def _asked(self, said: dict[str, Any], writer: asyncio.StreamWriter) -> _Job:
        user_id, device = said.get("user"), text(said, "device", 64)
        if not isinstance(user_id, int):
            raise LineMistake("user must be a number")
        state = self.parts.heart.state
        held = _choose(state, user_id, device)
        recipients = [
            (officer.officer_id, officer.sealing_key.hex())
            for officer in self.parts.trust.key_statement.officers
            if TECHNICIANS & set(officer.duties)
        ]
        if not recipients:
            raise _No(
                "the school has named no technician who would keep the recovery key: nothing was changed; tell them"
            )
        identity = self.parts.identity
        job = _Job(
            held=held,
            user_id=user_id,
            account=next(one.account for one in state.sessions.values() if one.user_id == user_id),
            event_id=event_id(self.parts.clock.now().wall_ms),
            epoch=await self._epoch(),
        )
        _say(
            writer,
            device=held.medium.kernel_name,
            sequence=held.sequence,
            size=held.medium.size_bytes,
            holds=held.medium.file_system,
            why=_why(state, held),
            school=self.parts.trust.key_statement.school_name,
            school_id=identity.school_id,
            device_id=identity.device_id.hex(),
            epoch=job.epoch.hex(),
            event_id=job.event_id.hex(),
            recipients=recipients,
        )
        return job

    async def _heard(self, job: _Job, said: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if "begin" in said and not job.begun:
            job.reference = text(said, "begin", 16)
            await self._begin(job, text(said, "sealed", MAX_LINE))
            _say(writer, kept=True)
        elif "state" in said and job.begun:
            job.begun = False
            self._emit(job, "done" if said["state"] == "done" else "failed", detail=text(said, "why"))
            _say(writer, heard=True)
        else:
            raise LineMistake("out of turn")

    async def _begin(self, job: _Job, sealed: str) -> None:
        """The recovery key is durable on this device before anything is overwritten."""
        try:
            key = decode(model.SealedField, base64.b64decode(sealed, validate=True))
        except (binascii.Error, WireFormatError) as error:
            raise LineMistake("no sealed field") from error
        job.begun = True
        self._emit(job, "begun", key=key)
        if not await self._until(lambda: self._is_encrypting(job)):
            raise _No("the stick is not there any more: nothing was changed")
        if await self._epoch() != job.epoch or self.parts.writer.state().failing_because:
            raise _No("the recovery key could not be kept on this device: nothing was changed; try again")

    def _is_encrypting(self, job: _Job) -> bool:
        held = self.parts.heart.state.media.get(job.held.medium.kernel_name)
        return held is not None and held.encrypting and held.sequence == job.held.sequence

    def _emit(self, job: _Job, state: str, *, key: model.SealedField | None = None, detail: str = "") -> None:
        body = model.MediumEncrypted(
            medium=job.held.medium, state=state, recovery_key=key, reference=job.reference, detail=detail
        )
        self.parts.heart.emit(
            MediumEncrypting(
                body=body,
                sequence=job.held.sequence,
                account=job.account,
                user_id=job.user_id,
                event_id=job.event_id if key is not None else b"",
            )
        )

    async def _until(self, is_so: Callable[[], bool]) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KEPT_S):
                while not is_so():  # noqa: ASYNC110 - the core's state has no event to wait for
                    await asyncio.sleep(_LOOK_S)
        return is_so()

    async def _epoch(self) -> bytes:
        """Of the spool, after all that was handed over before this is written."""
        try:
            async with asyncio.timeout(_KEPT_S):
                return await asyncio.wrap_future(self.parts.writer.call(lambda spool: spool.epoch))
        except (TimeoutError, SpoolError) as error:
            raise _No("this device cannot keep anything just now: nothing was changed; try again") from error


def _choose(state: CoreState, user_id: int, device: str) -> HeldMedium:
    """The medium that this account plugged in, and that a rule refuses only because it is plain."""
    if not any(session.user_id == user_id for session in state.sessions.values()):
        raise _No("you are not signed in on this device: nothing was changed")
    own = [held for held in state.media.values() if held.user_id in (user_id, -1) and not held.encrypting]
    own = [held for held in own if not device or held.medium.kernel_name == device.removeprefix("/dev/")]
    able = [held for held in own if media.can_be_encrypted(state, held)]
    if len(able) == 1:
        return able[0]
    if able:
        names = ", ".join(sorted(held.medium.kernel_name for held in able))
        raise _No(f"there are several: say which one ({names})")
    if own:
        raise _No(
            "nothing is to be encrypted: what is plugged in may be used as it is, or no rule would let it be used"
        )
    raise _No(
        "there is no stick of yours that the school refuses: plug it in while you are signed in, and wait a moment"
    )


def _why(state: CoreState, held: HeldMedium) -> str:
    verdict = held.verdict
    said = verdict and decide.medium_words(verdict, state.texts.get(verdict.rule_id))
    return f"{said.title}. {said.text}" if said else ""


def _say(writer: asyncio.StreamWriter, **said: object) -> None:
    writer.write(json.dumps(said).encode() + b"\n")
