"""Enrolment: from a token and an address to a key, a certificate and a verified policy; nothing half done.

The key is made here and waits, with the request's nonce, in ``identity/pending``: an answer that got lost is asked for
again and is the same device. Everything of the answer is verified against the token's two pins before it is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent import identity as identities
from schoolkeeper_agent.describe import describe_device
from schoolkeeper_agent.net import ENROLMENT, AddressError, Proxy, open_channel
from schoolkeeper_agent.probe import Problem, Reached, Unreachable, probe, wants_certificate
from schoolkeeper_agent.system import here
from schoolkeeper_agent.trust import FOLDER as TRUST_FOLDER
from schoolkeeper_agent.trust import Place, load_trust, save_place, update_trust
from schoolkeeper_proto import enrolment_token, wire
from schoolkeeper_proto.codec import decode, encode

if TYPE_CHECKING:
    from grpc.aio import AioRpcError

REASON_KEY = "schoolkeeper-reason"
CLOCK_OFF_MS = 86_400_000
"""A clock further off than a day is an error to a person who can set it."""
_TRANSIENT = frozenset(
    {"name-not-found", "port-closed", "no-answer", "proxy-refuses", "not-tls", "intercepted", "unreachable"}
    | {"too-many-attempts", "no-bundle", "collector-failed"}
)


class EnrolError(Exception):
    """Not enrolled, and nothing was changed; ``reason`` is a stable word, ``remedy`` what to do."""

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.reason = reason
        self.message = message
        self.remedy = remedy

    @property
    def may_pass(self) -> bool:
        """Whether trying again later can help."""
        return self.reason in _TRANSIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOptions:
    """``again``: this device is enrolled already and shall become a new device."""

    state_dir: Path
    address: str
    token: str
    proxy: Proxy | None = None
    again: bool = False
    accept_clock: bool = False
    description: wire.DeviceDescription | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolResult:
    identity: identities.Identity
    clock_off_ms: int
    """This machine's clock minus the collector's."""


async def enrol(options: EnrolOptions, *, now_ms: int) -> EnrolResult:
    """Enrols this device. Raises ``EnrolError``; ``now_ms`` is this machine's wall clock."""
    state_dir = options.state_dir
    if identities.is_enrolled(state_dir) and not options.again:
        raise EnrolError(
            "enrolled-already",
            f"this device is enrolled already ({state_dir / identities.FOLDER})",
            "To make it a new device, add --again; what it has not sent yet stays in the spool",
        )
    token = _token(options.token)
    reached = await _reach(options, token)
    key, nonce = _pending(state_dir)
    try:
        response = await _ask(options, token, reached, key, nonce)
    except EnrolError as error:
        if error.reason != "key-in-use":
            raise
        # An image was made of a machine in the middle of its enrolment: this copy needs a key of its own.
        shutil.rmtree(_pending_folder(state_dir), ignore_errors=True)
        key, nonce = _pending(state_dir)
        response = await _ask(options, token, reached, key, nonce)
    _check_answer(response, token, key)
    off = now_ms - response.server_unix_ms
    if abs(off) > CLOCK_OFF_MS and not options.accept_clock:
        raise EnrolError(
            "clock-off",
            f"this machine's clock is {_days(off)}",
            "Set it (`timedatectl set-ntp true`, or `date -s`), then run the same command again; "
            "--accept-clock enrols regardless",
        )
    await _keep(options, token, response, key)
    loaded = identities.load_identity(state_dir)
    assert loaded is not None
    return EnrolResult(identity=loaded, clock_off_ms=off)


def _token(text: str) -> enrolment_token.EnrolmentToken:
    try:
        return enrolment_token.parse(text)
    except enrolment_token.TokenTextError as error:
        raise EnrolError("token-malformed", str(error)) from error


async def _reach(options: EnrolOptions, token: enrolment_token.EnrolmentToken) -> Reached:
    try:
        return await asyncio.to_thread(probe, options.address, token.ca_sha256, options.proxy)
    except AddressError as error:
        raise EnrolError("bad-address", str(error)) from error
    except Unreachable as error:
        reason = "wrong-school" if error.problem is Problem.WRONG_SCHOOL else error.problem.value
        raise EnrolError(reason, error.message, error.remedy) from error


def _pending(state_dir: Path) -> tuple[identities.FileKey, bytes]:
    """The key and nonce that wait for an answer, made when there are none."""
    folder = _pending_folder(state_dir)
    with suppress(identities.IdentityError, OSError):
        if not here.readable_by_others(folder / "device.key"):
            return identities.load_key(folder / "device.key"), (folder / "nonce").read_bytes()
    key, nonce = identities.new_key(), os.urandom(32)
    try:
        identities.write_private(folder / "nonce", nonce)
        identities.write_key(folder / "device.key", key)
    except OSError as error:
        raise EnrolError(
            "no-rights",
            f"{folder} cannot be written ({error.strerror})",
            "Run this as root, or choose --state-dir",
        ) from error
    return key, nonce


def _pending_folder(state_dir: Path) -> Path:
    return state_dir / identities.FOLDER / "pending"


async def _ask(
    options: EnrolOptions,
    token: enrolment_token.EnrolmentToken,
    reached: Reached,
    key: identities.FileKey,
    nonce: bytes,
) -> wire.EnrolResponse:
    import grpc.aio

    request = wire.EnrolRequest(
        token_id=token.token_id,
        token_secret=token.secret,
        csr=key.certificate_request(),
        device=options.description or describe_device(key.storage),
        request_nonce=nonce,
    )
    async with open_channel(
        options.address, identities.pem_of(reached.ca_der), None, options.proxy
    ) as channel:
        call = channel.unary_unary(
            f"{ENROLMENT}/Enrol",
            request_serializer=encode,
            response_deserializer=partial(decode, wire.EnrolResponse),
        )
        try:
            response: wire.EnrolResponse = await call(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            refused = refusal(error, options.address)
            if refused.reason == "unreachable" and await asyncio.to_thread(
                wants_certificate, options.address, options.proxy
            ):
                refused = _not_enrolment(
                    options.address, "only devices that are enrolled already get in there"
                )
            raise refused from error
    return response


def refusal(error: AioRpcError, address: str) -> EnrolError:
    """What the collector answered instead, with the word it gave."""
    words = {str(k): str(v) for k, v in (error.trailing_metadata() or ())}
    reason = words.get(REASON_KEY, "")
    details = error.details() or error.code().name
    if reason:
        return EnrolError(reason, f"the collector refuses: {details}")
    if error.code().name in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return EnrolError(
            "unreachable",
            f"the connection to {address} broke off ({details[:200]})",
            "Try again; then `doctor`",
        )
    if error.code().name == "UNIMPLEMENTED":
        return _not_enrolment(address, "it does not know how to enrol")
    return EnrolError(
        "collector-failed",
        f"the collector at {address} failed ({details[:200]})",
        "Look into its log, then try again",
    )


def _not_enrolment(address: str, because: str) -> EnrolError:
    host, _, port = address.rpartition(":")
    return EnrolError(
        "not-enrolment",
        f"port {port} of {host} belongs to the collector, but is not the port to enrol at: {because}",
        f"Enrol at the enrolment port, {host}:7443 unless your technician chose another; the uplink port, 7444, is"
        " for afterwards, and the device finds it by itself",
    )


def _check_answer(
    response: wire.EnrolResponse, token: enrolment_token.EnrolmentToken, key: identities.FileKey
) -> None:
    roots = response.root_metadata
    if not roots or hashlib.sha256(roots[0]).digest() != token.root_sha256:
        raise EnrolError(
            "wrong-school",
            "the collector answered with another root of trust than the token pins",
            "Check that the token was made on this collector; if it was, tell your technician: do not enrol here",
        )
    try:
        identities.check_certificate(
            response.certificate_chain, key, response.school_id, response.device_id, (token.ca_sha256,)
        )
    except (identities.IdentityError, ValueError) as error:
        raise EnrolError("bad-answer", str(error), "Update collector and agent, then try again") from error


async def _keep(
    options: EnrolOptions,
    token: enrolment_token.EnrolmentToken,
    response: wire.EnrolResponse,
    key: identities.FileKey,
) -> None:
    """Verifies the trusted set in a folder beside the final one, then puts trust and identity in place."""
    building = options.state_dir / ".enrolling"
    shutil.rmtree(building, ignore_errors=True)
    files = _files(response)

    async def from_answer(name: str) -> bytes | None:
        return files.get(name)

    try:
        save_place(
            building,
            Place(
                school_id=response.school_id,
                device_id=response.device_id,
                group=response.group,
                root_sha256=token.root_sha256,
            ),
        )
        # At this moment nobody but the collector vouches for the time; the signed set bounds how wrong it can be.
        update = await update_trust(
            building, from_answer, now_ms=response.server_unix_ms, first_root=response.root_metadata[0]
        )
        if update.refused == "local":
            raise EnrolError(
                "trust-local",
                f"this device could not check what the school signed: {update.message}",
                f"look at the room and the rights of {options.state_dir}, then enrol again",
            )
        if update.refused:
            raise EnrolError(
                f"trust-{update.refused}",
                f"what the collector shows as signed by the school's officers does not verify: {update.message}",
                "Tell your technician: do not enrol here until this is explained",
            )
        trust = load_trust(building)
        if trust is None or response.certificate_chain[1] not in trust.key_statement.ca_certificates:
            raise EnrolError("wrong-school", "the officers' key statement does not name the pinned authority")
        final = options.state_dir / TRUST_FOLDER
        # --again: the old set goes only now, when the new one is complete.
        shutil.rmtree(final, ignore_errors=True)
        (building / TRUST_FOLDER).rename(final)
        new = identities.NewIdentity(
            school_id=response.school_id,
            device_id=response.device_id,
            group=response.group,
            chain=response.certificate_chain,
            enrolment_addresses=(options.address,),
        )
        identities.save_identity(options.state_dir, key, new)
    except OSError as error:
        raise EnrolError(
            "no-rights",
            f"{error.filename or options.state_dir} cannot be written ({error.strerror})",
            "Run as root",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    shutil.rmtree(_pending_folder(options.state_dir), ignore_errors=True)
    (options.state_dir / identities.FOLDER / "move.json").unlink(missing_ok=True)


def _files(response: wire.EnrolResponse) -> Mapping[str, bytes]:
    found = {f"metadata/{n}.root.json": data for n, data in enumerate(response.root_metadata, 1)}
    found |= {file.name: file.data for file in (*response.metadata, *response.targets)}
    return found


def _days(off_ms: int) -> str:
    days = abs(off_ms) / 86_400_000
    amount = f"{days / 365.25:.1f} years" if days > 400 else f"{days:.0f} days"
    return f"{amount} {'ahead of' if off_ms > 0 else 'behind'} the collector's"
