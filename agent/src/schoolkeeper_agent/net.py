"""Channels to the collector: gRPC over TLS with the school's own CA, through an HTTP CONNECT proxy where there is one.

gRPC says little about why a connection failed; ``probe.py`` asks again by hand and names the cause.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode, encode

if TYPE_CHECKING:
    import grpc.aio

    from schoolkeeper_agent.identity import Identity

UPLINK = "/schoolkeeper_proto.v1.Uplink"
ENROLMENT = "/schoolkeeper_proto.v1.Enrolment"
MAX_FETCH_BYTES = 8 << 20
_MAX_MESSAGE = 16 << 20


class AddressError(ValueError):
    """An address or proxy that cannot be used; shows what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT; ``user`` and ``password`` are for Basic authentication."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port}{', with sign-in' if self.user else ''})"


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of ``host:port`` or ``[ipv6]:port``; raises ``AddressError``."""
    host, separator, port = address.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise AddressError(f"{address!r} is not HOST:PORT, for example collector.school.example:7443")
    if ":" in host and not bracketed:
        raise AddressError(f"{address!r}: an IPv6 address stands in brackets, for example [2001:db8::1]:7443")
    return host.strip("[]"), int(port)


def parse_proxy(url: str) -> Proxy | None:
    """The proxy of ``http://[user:password@]host:port``; None for an empty text. Raises ``AddressError``."""
    from urllib.parse import unquote

    if not url:
        return None
    parts = urlsplit(url if "//" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        shown = url.rpartition("@")[2]
        raise AddressError(f"proxy {shown!r} is not http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    return Proxy(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def open_channel(
    address: str,
    ca_pem: bytes,
    identity: Identity | None,
    proxy: Proxy | None,
    options: Sequence[tuple[str, int | str]] = (),
) -> grpc.aio.Channel:
    """A channel to one address; the environment's proxies are ignored, only the given one counts.

    Give ``identity`` for the uplink (mutual TLS), None for enrolment and renewal. Must be called on the event loop.
    A renewed certificate needs a new channel. Raises ``AddressError``.
    """
    import grpc
    import grpc.aio

    split_address(address)
    if identity is None:
        credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
    else:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=ca_pem, private_key=identity.key_pem, certificate_chain=identity.chain_pem
        )
    return grpc.aio.secure_channel(address, credentials, options=[*_options(proxy), *options])


def fetch_from(channel: grpc.aio.Channel, timeout: float = 60.0) -> Callable[[str], Awaitable[bytes | None]]:
    """Reads published files over the uplink's Fetch; None for a name that is not published."""
    import grpc
    import grpc.aio

    from schoolkeeper_agent.trust import FileTooLong

    call = channel.unary_stream(
        f"{UPLINK}/Fetch",
        request_serializer=encode,
        response_deserializer=partial(decode, wire.FetchChunk),
    )

    async def fetch(name: str) -> bytes | None:
        found = bytearray()
        try:
            async for chunk in call(wire.FetchRequest(name=name), timeout=timeout):
                found += chunk.data
                if len(found) > MAX_FETCH_BYTES:
                    raise FileTooLong(f"the published file {name!r} is longer than {MAX_FETCH_BYTES} bytes")
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return bytes(found)

    return fetch


async def fetch_package(channel: grpc.aio.Channel, name: str, offset: int) -> AsyncGenerator[bytes, None]:
    """A package's bytes from ``offset`` on, as they come; raises what the network raises."""
    call = channel.unary_stream(
        f"{UPLINK}/Fetch",
        request_serializer=encode,
        response_deserializer=partial(decode, wire.FetchChunk),
    )
    async for chunk in call(wire.FetchRequest(name=name, offset=offset)):
        yield chunk.data


def _options(proxy: Proxy | None) -> list[tuple[str, int | str]]:
    from urllib.parse import quote

    found: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
        ("grpc.enable_retries", 0),
        # It measures a fast line with pings and timers; what we receive is short, and every timer wakes the machine.
        ("grpc.http2.bdp_probe", 0),
    ]
    if proxy is None:
        return [*found, ("grpc.enable_http_proxy", 0)]
    sign_in = f"{quote(proxy.user, safe='')}:{quote(proxy.password, safe='')}@" if proxy.user else ""
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return [*found, ("grpc.http_proxy", f"http://{sign_in}{host}:{proxy.port}")]
