"""The device's next certificate: asked for at two thirds of the life of this one, and also after its end.

It goes to the enrolment listener, which asks for no client certificate: an expired one would die in the handshake. The
old certificate's key signs the request, so that nobody else can ask.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent import identity as identities
from schoolkeeper_agent.enrol import EnrolError, refusal
from schoolkeeper_agent.net import ENROLMENT, AddressError, Proxy, open_channel
from schoolkeeper_agent.trust import Trust, run_child
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import decode, encode

if TYPE_CHECKING:
    import grpc.aio


class RenewError(Exception):
    """No new certificate; ``reason`` is a stable word. ``final`` means that only a new enrolment helps."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def final(self) -> bool:
        return self.reason in ("revoked", "too-old", "unknown-certificate")


async def renew(
    state_dir: Path,
    identity: identities.Identity,
    addresses: Sequence[str],
    *,
    proxy: Proxy | None,
    now_ms: int,
) -> identities.Identity:
    """Asks each enrolment address in turn; keeps and returns the new identity. Raises ``RenewError``."""
    request = _request(state_dir, identity, now_ms)
    failed = RenewError("unreachable", "no enrolment address is known: enrol this device again")
    for address in addresses:
        try:
            response = await _ask(address, identity, request, proxy)
        except EnrolError as error:
            failed = RenewError(error.reason, str(error))
            if failed.final:
                break
            continue
        except AddressError as error:
            failed = RenewError("bad-address", str(error))
            continue
        return await _keep(state_dir, identity, response)
    raise failed


async def school_time(
    identity: identities.Identity, trust: Trust, addresses: Sequence[str], *, proxy: Proxy | None
) -> int:
    """Unix milliseconds that the school's command key vouches for, from the enrolment listener. Raises ``RenewError``.

    For a device whose clock cannot be right. ``StatementError`` when the answer is not signed as it must be.
    """
    failed = RenewError("unreachable", "no enrolment address is known")
    for address in addresses:
        try:
            async with open_channel(address, identity.ca_pem, None, proxy) as channel:
                response = await _reach(channel, address)
        except (EnrolError, AddressError) as error:
            failed = RenewError("unreachable", str(error))
            continue
        signed = wire.SignedTime(
            statement=response.time_statement, key_id=response.time_key_id, signature=response.time_signature
        )
        return trust.verified_time(signed)
    raise failed


async def _reach(channel: grpc.aio.Channel, address: str) -> wire.ReachResponse:
    import grpc.aio

    call = channel.unary_unary(
        f"{ENROLMENT}/Reach",
        request_serializer=encode,
        response_deserializer=partial(decode, wire.ReachResponse),
    )
    try:
        response: wire.ReachResponse = await call(wire.ReachRequest(nonce=os.urandom(16)), timeout=30)
    except grpc.aio.AioRpcError as error:
        raise refusal(error, address) from error
    return response


def _request(state_dir: Path, identity: identities.Identity, now_ms: int) -> wire.RenewRequest:
    try:
        csr = identities.saved_request(state_dir)
    except identities.IdentityError as error:
        raise RenewError("failed", str(error)) from error
    nonce = os.urandom(32)
    proof = wire.RenewProof(
        certificate_hash=identity.certificate_hash,
        csr_hash=hashlib.sha256(csr).digest(),
        nonce=nonce,
        signed_at_unix_ms=now_ms,
    )
    signature = statements.sign(statements.RENEWAL, encode(proof), identity.signer)
    return wire.RenewRequest(
        certificate=identities.split_chain(identity.chain_pem)[0],
        csr=csr,
        signed_at_unix_ms=now_ms,
        nonce=nonce,
        signature=signature.signature,
    )


async def _ask(
    address: str, identity: identities.Identity, request: wire.RenewRequest, proxy: Proxy | None
) -> wire.RenewResponse:
    import grpc.aio

    async with open_channel(address, identity.ca_pem, None, proxy) as channel:
        call = channel.unary_unary(
            f"{ENROLMENT}/Renew",
            request_serializer=encode,
            response_deserializer=partial(decode, wire.RenewResponse),
        )
        try:
            response: wire.RenewResponse = await call(request, timeout=30)
        except grpc.aio.AioRpcError as error:
            raise refusal(error, address) from error
    return response


async def _keep(
    state_dir: Path, identity: identities.Identity, response: wire.RenewResponse
) -> identities.Identity:
    """A chain that is not ours must not take the place of one that is: a child process looks at it first."""
    authorities = [hashlib.sha256(der).hexdigest() for der in identities.certificates_in(identity.ca_pem)]
    answer = await run_child(
        {
            "work": "certificate",
            "state_dir": str(state_dir),
            "chain": [der.hex() for der in response.certificate_chain],
            "authorities": authorities,
        }
    )
    if "dates" not in answer:
        raise RenewError("bad-answer", str(answer.get("message", "the new certificate does not verify")))
    before, after = answer["dates"]
    identities.save_chain(state_dir, response.certificate_chain, (int(before), int(after)))
    kept = identities.load_identity(state_dir)
    if kept is None:
        raise RenewError("failed", f"the identity in {state_dir} is gone")
    return kept
