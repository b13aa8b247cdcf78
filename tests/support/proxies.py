"""What stands between a laptop and the world: a CONNECT proxy, one that wants a sign-in, one that opens TLS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schoolkeeper_agent.net import Proxy


@dataclass
class RunningProxy:
    """``targets``: what clients asked to be connected to, in order."""

    port: int = 0
    targets: list[str] = field(default_factory=list)
    refused: int = 0
    bytes_passed: int = 0

    def proxy(self, user: str = "", password: str = "") -> Proxy:
        return Proxy(host="127.0.0.1", port=self.port, user=user, password=password)


@asynccontextmanager
async def connect_proxy(
    *, sign_in: tuple[str, str] | None = None, forbid: bool = False, intercept: ssl.SSLContext | None = None
) -> AsyncIterator[RunningProxy]:
    """An HTTP proxy that knows CONNECT only. With ``intercept`` it ends TLS itself, with a certificate of its own."""
    running = RunningProxy()
    connections: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            await _serve(reader, writer)
        writer.close()

    async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
        running.targets.append(target)
        if not _may(head, sign_in):
            running.refused += 1
            writer.write(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n'
            )
            await writer.drain()
            return
        if forbid or method != "CONNECT":
            running.refused += 1
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            await writer.drain()
            return
        host, _, port = target.rpartition(":")
        out_reader, out_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        if intercept is not None:
            await writer.start_tls(intercept)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, out_writer))
                group.create_task(_pump(out_reader, writer))
        finally:
            out_writer.close()

    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            running.bytes_passed += len(data)
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof() if writer.can_write_eof() else writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def filter_context(folder: Path, host: str = "127.0.0.1") -> ssl.SSLContext:
    """The TLS of a web filter that makes certificates for whatever host is asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Anytown Web Filter"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Filter CA"),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "filter.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2"])
    return context


def _may(head: str, sign_in: tuple[str, str] | None) -> bool:
    if sign_in is None:
        return True
    wanted = base64.b64encode(f"{sign_in[0]}:{sign_in[1]}".encode()).decode()
    return f"proxy-authorization: basic {wanted}".lower() in head.lower()
