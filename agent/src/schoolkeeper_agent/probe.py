"""Why a collector cannot be reached, found by hand: name, port, proxy, TLS, whose certificate, for which host.

A school's web filter that opens TLS shows its own certificate. That is recognised by the issuer (it is not the pinned
CA) and answered with the bypass entry that the filter needs. Blocking; run it in a thread.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from schoolkeeper_agent.net import AddressError, Proxy, split_address

if TYPE_CHECKING:
    from cryptography import x509

SCHOOLKEEPER = "Schoolkeeper"
_MAX_REPLY = 16_384


class Problem(StrEnum):
    NAME = "name-not-found"
    REFUSED = "port-closed"
    TIMEOUT = "no-answer"
    PROXY = "proxy-refuses"
    NOT_TLS = "not-tls"
    INTERCEPTED = "intercepted"
    WRONG_SCHOOL = "wrong-school"
    WRONG_HOST = "wrong-host"


class Unreachable(Exception):
    """A collector that cannot be talked to; ``message`` names the place, ``remedy`` what to do."""

    def __init__(self, problem: Problem, message: str, remedy: str) -> None:
        super().__init__(f"{message}. {remedy}")
        self.problem = problem
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A server that showed a certificate of the pinned CA for this host."""

    address: str
    ca_der: bytes


def probe(address: str, ca_sha256: bytes, proxy: Proxy | None, timeout: float = 10.0) -> Reached:
    """Connects, looks at the server's certificate and hangs up. Raises ``Unreachable`` or ``AddressError``."""
    host, port = split_address(address)
    with contextlib.closing(_connect(host, port, proxy, timeout)) as plain:
        chain = _chain(plain, host, address)
    return Reached(address=address, ca_der=_judge(chain, host, address, ca_sha256))


def wants_certificate(address: str, proxy: Proxy | None, timeout: float = 10.0) -> bool:
    """Whether the server there speaks only to devices that show a certificate: the uplink port does. Never raises.

    With TLS 1.3 the refusal comes after our side of the handshake is done, in answer to the first read (RFC 8446,
    4.4.2.4): as an alert, or, from gRPC, by hanging up where an HTTP/2 server would speak first (RFC 9113, 3.4).
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        host, port = split_address(address)
        with (
            contextlib.closing(_connect(host, port, proxy, timeout)) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return secured.recv(1) == b""
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in str(error.reason) or "HANDSHAKE_FAILURE" in str(error.reason)
    except ConnectionResetError:
        return True
    except (OSError, AddressError, Unreachable):
        return False


def _connect(host: str, port: int, proxy: Proxy | None, timeout: float) -> socket.socket:
    place = f"{proxy.host}:{proxy.port} (the proxy)" if proxy else f"{host}:{port}"
    target = (proxy.host, proxy.port) if proxy else (host, port)
    try:
        sock = socket.create_connection(target, timeout)
    except socket.gaierror as error:
        raise Unreachable(
            Problem.NAME,
            f"the name in {place} is not known here ({error.strerror})",
            "Check the spelling, and that this machine's DNS works",
        ) from error
    except ConnectionRefusedError as error:
        raise Unreachable(
            Problem.REFUSED,
            f"{place} answers, but the port is closed",
            "Check the port, and that `schoolkeeper-collector run` is running there",
        ) from error
    except OSError as error:
        raise Unreachable(
            Problem.TIMEOUT,
            f"{place} does not answer ({error.strerror or 'timed out'})",
            f"Check the address and that firewalls let this machine out to port {target[1]}",
        ) from error
    if proxy:
        try:
            _tunnel(sock, host, port, proxy)
        except BaseException:
            sock.close()
            raise
    return sock


def _tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """HTTP CONNECT (RFC 9110, 9.3.6)."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user:
        secret = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    reply = b""
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in reply and len(reply) < _MAX_REPLY:
            part = sock.recv(4096)
            if not part:
                break
            reply += part
    except OSError as error:
        reply = str(error).encode()
    first = reply.split(b"\r\n", 1)[0].decode("latin-1", "replace")[:100]
    status = first.split(" ")[1:2]
    if status == ["200"]:
        return
    place = f"the proxy {proxy.host}:{proxy.port}"
    if status == ["407"]:
        raise Unreachable(
            Problem.PROXY,
            f"{place} wants a sign-in that it does not accept ({first})",
            'Set proxy = "http://USER:PASSWORD@HOST:PORT", or let this machine through without',
        )
    raise Unreachable(
        Problem.PROXY,
        f"{place} does not connect to {target} ({first or 'it hung up'})",
        f"Ask whoever runs the proxy to allow CONNECT to {target}",
    )


def _chain(plain: socket.socket, host: str, address: str) -> list[bytes]:
    """The certificates that the server shows, own first, DER; nothing is believed yet."""
    import ssl  # only here: the service, which imports this module to renew, goes without it (see light.py)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(plain, server_hostname=host) as secured:
            return _shown(secured)
    except (ssl.SSLError, OSError) as error:
        raise Unreachable(
            Problem.NOT_TLS,
            f"{address} answers, but not with TLS ({getattr(error, 'reason', None) or error})",
            "Check the port: 7443 to enrol, 7444 for the uplink, unless your technician chose others",
        ) from error


def _shown(secured: Any) -> list[bytes]:
    # Public only from Python 3.13 on; the object below has it since 3.10.
    holder: Any = secured if hasattr(secured, "get_unverified_chain") else secured._sslobj  # noqa: SLF001
    found = []
    for certificate in holder.get_unverified_chain() or ():
        found.append(certificate if isinstance(certificate, bytes) else _der(certificate))
    return found


def _der(certificate: Any) -> bytes:
    import ssl

    text: str = certificate.public_bytes()
    return ssl.PEM_cert_to_DER_cert(text)


def _judge(chain: list[bytes], host: str, address: str, ca_sha256: bytes) -> bytes:
    """The CA's DER when the chain is the pinned CA's for this host. Raises ``Unreachable``."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    if not chain:
        raise Unreachable(Problem.NOT_TLS, f"{address} shows no certificate", "Check address and port")
    pinned = [der for der in chain[1:] if hashlib.sha256(der).digest() == ca_sha256]
    try:
        own = x509.load_der_x509_certificate(chain[0])
        if not pinned:
            raise _foreign(own.issuer.rfc4514_string(), address)
        own.verify_directly_issued_by(x509.load_der_x509_certificate(pinned[0]))
    except (InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, ValueError, TypeError) as error:
        raise _foreign("someone who cannot be told", address) from error
    if not _names(own, host):
        shown = ", ".join(_all_names(own)) or "nothing"
        raise Unreachable(
            Problem.WRONG_HOST,
            f"the collector at {address} is this school's, but its certificate is for {shown} and not for {host}",
            f"Use one of those names, or have {host} added (`schoolkeeper-collector stage --address`)",
        )
    return pinned[0]


def _foreign(issuer: str, address: str) -> Unreachable:
    issuer = issuer or "an unnamed issuer"
    if f"O={SCHOOLKEEPER}" in issuer:
        return Unreachable(
            Problem.WRONG_SCHOOL,
            f"{address} is a collector of another school ({issuer})",
            "Check the address, and that the token was made on that collector",
        )
    return Unreachable(
        Problem.INTERCEPTED,
        f"the connection to {address} is opened by something in between: the certificate is issued by {issuer} "
        "and not by the school's own authority",
        f"Add this to the filter's list of what is passed through without inspection (TLS bypass): {address}",
    )


def _names(own: x509.Certificate, host: str) -> bool:
    wanted = host.lower().rstrip(".")
    with contextlib.suppress(ValueError):
        wanted = str(ipaddress.ip_address(wanted))
    return wanted in _all_names(own)


def _all_names(own: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return hosts + [str(address) for address in names.get_values_for_type(x509.IPAddress)]
