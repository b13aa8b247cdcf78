"""The demonstration's school: made by the same `init` as a real one, with keys that have no passphrase, loudly."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyotp
from console import Visitor
from sqlalchemy import Connection, select
from stages import StageError

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.accounts import create_account
from schoolkeeper_collector.ledger.proofs import event_proof
from schoolkeeper_collector.school.init import InitOptions, init_school
from schoolkeeper_collector.school.keys import ServiceKeys, load_keys
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.events import read_events
from schoolkeeper_collector.store.tables import alerts, events, incidents
from schoolkeeper_proto import model, proof
from schoolkeeper_proto.codec import kind_number

SCHOOL_ID = "demo.schoolkeeper.invalid"
GROUP = "demo"
COLLECTOR = str(Path(__file__).resolve().parents[2] / ".venv/bin/schoolkeeper-collector")
PASSWORD = "demonstration only"
_FIRST_PORT = 18_443
PEOPLE = (
    ("dsl", "Demo DSL", Role.DSL),
    ("head", "Demo Head", Role.HEAD),
    ("technician", "Demo Technician", Role.TECHNICIAN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Free ports of the loopback interface, found once and then written down.

    They lie below the range that the kernel chooses from by itself (ip(7), ``ip_local_port_range``): one of those,
    closed again, may be given to any other program before the collector has it.
    """

    enrol: int
    uplink: int
    console: int
    health: int

    @classmethod
    def free(cls) -> Ports:
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        found = list(islice(filter(_is_free, range(_FIRST_PORT, end)), 4))
        if len(found) < 4:
            raise StageError(
                f"no four free ports between {_FIRST_PORT} and {end}: end what listens there (`ss -ltn` names it)"
            )
        return cls(enrol=found[0], uplink=found[1], console=found[2], health=found[3])


def _is_free(port: int) -> bool:
    with socket.socket() as trying:
        try:
            trying.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """Where it lies and how to reach it. ``factors`` are the second factors of its three people by sign-in name."""

    folder: Path
    ports: Ports
    factors: dict[str, str]

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder}/collector.db"

    @property
    def keystore(self) -> str:
        return f"sqlite:///{self.folder}/keystore.db"

    @property
    def environment(self) -> dict[str, str]:
        """The collector's settings, as its own variables; no file of the machine is read."""
        return {
            "SCHOOLKEEPER_CONFIG": str(self.folder / "collector.toml"),
            "SCHOOLKEEPER_STATE_DIR": str(self.folder),
            "SCHOOLKEEPER_ENROL_LISTEN": f"127.0.0.1:{self.ports.enrol}",
            "SCHOOLKEEPER_UPLINK_LISTEN": f"127.0.0.1:{self.ports.uplink}",
            "SCHOOLKEEPER_CONSOLE_LISTEN": f"127.0.0.1:{self.ports.console}",
            "SCHOOLKEEPER_HEALTH_LISTEN": f"127.0.0.1:{self.ports.health}",
        }

    @property
    def console_address(self) -> str:
        return f"http://127.0.0.1:{self.ports.console}"

    def visitor(self, login: str) -> Visitor:
        return Visitor(
            address=self.console_address, login=login, password=PASSWORD, second_factor=self.factors[login]
        )

    def store(self) -> Store:
        return open_store(self.database, self.keystore)

    def token(self, uses: int) -> str:
        """An enrolment token, by the technician's own command."""
        command = [COLLECTOR, "token", "create", "--group", GROUP, "--uses", str(uses), "--expires", "1d"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **self.environment}
        )
        return done.stdout.strip()


def make_school(folder: Path) -> School:
    ports = Ports.free()
    factors = {login: pyotp.random_base32() for login, _, _ in PEOPLE}
    school = School(folder=folder, ports=ports, factors=factors)
    folder.mkdir(parents=True)
    (folder / "collector.toml").write_text("# The demonstration sets everything by variables.\n")

    def add_accounts(connection: Connection, keys: ServiceKeys, now_ms: int) -> tuple[str, ...]:
        for login, name, role in PEOPLE:
            create_account(
                connection,
                school_id=SCHOOL_ID,
                login=login,
                display_name=name,
                role=role,
                console_key=keys.console_key,
                now_ms=now_ms,
                password=PASSWORD,
                second_factor=factors[login],
                ready=True,
            )
        return ()

    options = InitOptions(
        state_dir=folder,
        database_url=school.database,
        keystore_url=school.keystore,
        school_id=SCHOOL_ID,
        school_name="Demonstration School",
        hosts=("127.0.0.1",),
        now_ms=time.time_ns() // 1_000_000,
        uplink_port=ports.uplink,
        enrol_port=ports.enrol,
        groups=(GROUP,),
        pack="demo",
        passphrase=None,
    )
    init_school(options, add_accounts)
    return school


@dataclass(slots=True)
class Looking:
    """Looks into the collector's own records, to say how far an event has come; ``path`` of the program it is about."""

    store: Store
    kind: str
    path: str = ""
    event_no: int = 0

    def stored(self) -> str | None:
        with self.store.read() as connection:
            query = select(events.c.event_no).where(events.c.kind == kind_number(self.kind))
            numbers = list(connection.execute(query.order_by(events.c.event_no)).scalars())
            found = read_events(connection, self.store.keystore, SCHOOL_ID, numbers)
        for stored in found:
            if not self.path or self._is_about(stored.event.body):
                self.event_no = stored.event_no
                return f"{self.kind}, event {stored.event_no}"
        return None

    def _is_about(self, body: model.Body) -> bool:
        known = isinstance(body, (model.ApplicationRefused, model.ApplicationStarted))
        return known and body.application.path == self.path

    def alerted(self) -> str | None:
        with self.store.read() as connection:
            query = select(alerts).where(alerts.c.audience == "dsl")
            row = connection.execute(query.order_by(alerts.c.severity.desc()).limit(1)).first()
        return None if row is None else f"{row.title} (for the {row.audience})"

    def raised(self) -> str | None:
        with self.store.read() as connection:
            row = connection.execute(select(incidents).limit(1)).first()
        return None if row is None else f"incident {row.number}: {row.title}"

    def proved(self, folder: Path) -> str | None:
        """The event's proof, checked by the offline verifier's own steps; None until a checkpoint covers it."""
        keys = load_keys(folder)
        with self.store.read() as connection:
            found = event_proof(connection, self.store.keystore, SCHOOL_ID, self.event_no)
        text = found.to_json()
        (folder.parent / "proof.json").write_text(text)
        steps = proof.check(proof.EventProof.from_json(text), [keys.ledger.public_key().public_bytes_raw()])
        if not proof.holds(steps):
            raise RuntimeError(f"the event's proof does not hold: {steps[-1].name}: {steps[-1].detail}")
        return "; ".join(step.detail for step in steps)
