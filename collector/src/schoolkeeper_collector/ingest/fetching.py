"""Published files by name: policy and trust metadata for devices that are enrolled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from schoolkeeper_collector.ingest.identity import IdentityRefused, IdentitySource, auth_of
from schoolkeeper_collector.ingest.stream import Context
from schoolkeeper_collector.updates.handing import Handing, is_package
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode

_CHUNK = 1 << 16


async def fetch(
    request: bytes,
    context: Context,
    identities: IdentitySource,
    read_published: Callable[[str], bytes],
    now_ms: int,
    handing: Handing | None = None,
) -> None:
    """Answers one request in chunks, or ends it with a status that says why not."""
    try:
        identities.identify(auth_of(context), now_ms)
        asked = decode(wire.FetchRequest, request)
        if handing is not None and is_package(asked.name):
            await handing.hand(asked.name, asked.offset, context, now_ms)
            return
        data = await asyncio.to_thread(read_published, asked.name)
    except IdentityRefused as error:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
    except WireFormatError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except LookupError as error:
        await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
    else:
        for start in range(0, max(1, len(data)), _CHUNK):
            await context.write(encode(wire.FetchChunk(data=data[start : start + _CHUNK])))
