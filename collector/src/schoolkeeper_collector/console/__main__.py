"""The console as a process: ``python -m schoolkeeper_collector.console``. `schoolkeeper-collector run` supervises it.

It speaks TLS with the collector's own certificate, except on a loopback address: there a browser on the same machine,
or a proxy that ends TLS, is the only one that reaches it.
"""

from __future__ import annotations

import ipaddress
import signal
import ssl
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from schoolkeeper_collector.config import ConfigError, Settings, address_of, load_settings
from schoolkeeper_collector.console.app import NoSchool, create_app, options_of
from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.words import IngestKeys
from schoolkeeper_collector.logging import configure
from schoolkeeper_collector.school.keys import KeysError, ServiceKeys, load_keys
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force, rules_of
from schoolkeeper_collector.store.database import Store, StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

_LOOK_SECONDS = 5.0
_FAULTS = (
    ConfigError,
    KeysError,
    NoSchool,
    PackInForceError,
    PolicyError,
    SchemaError,
    StoreUrlError,
    OSError,
)


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    # Its lines go where the collector's go, and say no more than those: JSON, unknown fields withheld.
    configure("info")
    try:
        settings = load_settings()
        configure(settings.log_level)
        keys = load_keys(settings.state_dir)
        store = open_store(settings.store_url, settings.keys_url)
        check_schema(store)
        # Before the server is made: what is published from here on ends it.
        began_with = pack_in_force(settings.state_dir)
        server = make_server(settings, keys, store)
    except _FAULTS as error:
        structlog.get_logger("console").critical("console cannot start", because=str(error))
        return 1
    # The server stops gracefully, then raises the signal again: a stop that was asked for is no failure.
    signal.signal(signal.SIGTERM, _stop)
    watch = threading.Thread(target=end_with_pack, args=(server, settings.state_dir, began_with), daemon=True)
    watch.start()
    try:
        server.run()
    finally:
        store.close()
    return 0 if server.started else 1


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def end_with_pack(
    server: uvicorn.Server, state_dir: Path, began_with: str | Path, every_seconds: float = _LOOK_SECONDS
) -> None:
    """Ends the server when another pack was published: it is started again, with that pack's words."""
    while not server.should_exit:
        time.sleep(every_seconds)
        with suppress(PackInForceError, OSError):
            if pack_in_force(state_dir) != began_with:
                server.should_exit = True


def make_server(settings: Settings, keys: ServiceKeys, store: Store) -> uvicorn.Server:
    """Build the server for the settings' address; raises ConfigError for one that is none."""
    host, port = address_of(settings.console_listen, "console_listen")
    secure = not is_loopback(host)
    pack = pack_in_force(settings.state_dir)
    fixes = {str(check.check): check.fix for check in load_pack(pack).posture}
    options = options_of(
        store,
        console_key=keys.console_key,
        secure=secure,
        fixes=fixes,
        state_dir=settings.state_dir,
        inventory_stale_days=settings.inventory_stale_days,
        snapshot_months=settings.snapshot_months,
        ledger_keys=keys.ledger_public,
        lesson_signer=keys.command,
    )
    cases = CaseFile(
        store,
        rules_of(pack),
        opener=IngestKeys(keys.ingest.values()),
        incident_days=settings.keep_incident_days,
    )
    config = uvicorn.Config(
        create_app(options, store, cases),
        host=host,
        port=port,
        # Addresses of pages name items, and lines of an access log name people's addresses: the ledger has the reads.
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        limit_concurrency=200,
        lifespan="off",
    )
    if secure:
        config.load()
        config.ssl = tls_context(keys)
    return uvicorn.Server(config)


def tls_context(keys: ServiceKeys) -> ssl.SSLContext:
    """Return a server context with the enrolment listener's certificate; its key touches only a private folder."""
    pair = keys.tls["enrol"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        chain.write_bytes(pair.chain)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        context.load_cert_chain(chain, key)
    return context


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
