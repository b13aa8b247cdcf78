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
    return _credentials(state_dir, "uplink", certificates.pem(keys.ca_certificate))


def _credentials(state_dir: Path, name: str, client_ca: bytes | None) -> grpc.ServerCredentials:
    folder = SchoolPaths(state_dir).keys / "tls"

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = ((folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=client_ca)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        try:
            return configuration()
        except OSError:
            _LOG.exception("the %s listener's certificate cannot be read; the last one stays", name)
            return None

    # The stubs ask for a fetcher that always answers; None means "unchanged".
    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        fetch,  # type: ignore[arg-type]
        require_client_authentication=client_ca is not None,
    )
