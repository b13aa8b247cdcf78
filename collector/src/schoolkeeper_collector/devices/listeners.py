"""TLS of both listeners. Certificates are read again from disk for new connections, so that a move needs no restart."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc

from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.files import SchoolPaths
from schoolkeeper_collector.school.keys import ServiceKeys

_LOG = logging.getLogger(__name__)


def enrol_credentials(state_dir: Path) -> grpc.ServerCredentials:
    """Server-authenticated: whoever enrols has no certificate yet."""
    return _credentials(state_dir, "enrol", None)


def uplink_credentials(state_dir: Path, keys: ServiceKeys) -> grpc.ServerCredentials:
    """Mutual: only certificates of the school's own CA get through the handshake; dates are checked there too."""
    authorities = b"".join(certificates.pem(one) for one in (keys.ca_certificate, *keys.ca_retired))
    return _credentials(state_dir, "uplink", authorities)


def _credentials(state_dir: Path, name: str, client_ca: bytes | None) -> grpc.ServerCredentials:
    certificate = ListenerCertificate(SchoolPaths(state_dir).keys / "tls", name, client_ca)
    # The stubs ask for a fetcher that always answers; None means "unchanged".
    return grpc.dynamic_ssl_server_credentials(
        certificate.first(),
        certificate.changed,  # type: ignore[arg-type]
        require_client_authentication=client_ca is not None,
    )


class ListenerCertificate:
    """A listener's key and chain on disk, asked for at every handshake, on any thread.

    It answers only when the files changed: each answer makes gRPC replace what handshakes under way still use, and a
    crowd of devices that comes back together then crashes the process (grpc/grpc#36693).
    """

    def __init__(self, folder: Path, name: str, client_ca: bytes | None) -> None:
        self._folder = folder
        self._name = name
        self._client_ca = client_ca
        self._served = self._read()

    def first(self) -> grpc.ServerCertificateConfiguration:
        return self._configuration()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is on disk now, if it is not what is served; None otherwise, and while it cannot be read."""
        try:
            found = self._read()
        except OSError:
            _LOG.exception("the %s listener's certificate cannot be read; the last one stays", self._name)
            return None
        if found == self._served:
            return None
        self._served = found
        return self._configuration()

    def _read(self) -> tuple[bytes, bytes]:
        key, chain = (self._folder / f"{self._name}.{suffix}" for suffix in ("key", "pem"))
        return key.read_bytes(), chain.read_bytes()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([self._served], root_certificates=self._client_ca)
