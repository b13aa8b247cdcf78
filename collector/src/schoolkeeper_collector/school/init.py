"""``init``: a whole school in one go, or nothing of it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.school import roots, staging, texts
from schoolkeeper_collector.school.bundles import compile_bundle, register_for
from schoolkeeper_collector.school.escrow import put_in_escrow
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_collector.school.keys import ServiceKeys, load_keys, make_keys
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.pack_in_force import put_in_force
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_collector.school.statement import make_statement
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.migrate import migrate
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.officer import keyfile
from schoolkeeper_proto import trust
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.names import check_group, check_school_id

_HOST_NAME = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?"
)
_MOVED = ("offline", "trust", "keys", "policy")


class InitError(Exception):
    """No school was made; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerSpec:
    """``title`` is the word in the key statement: "dsl", "head", "technician", ..."""

    name: str
    title: str
    duty: trust.Duty


FOUR_OFFICERS = (
    OfficerSpec(name="technician", title="technician", duty=trust.Duty.TECHNICAL),
    OfficerSpec(name="second-technician", title="technician", duty=trust.Duty.TECHNICAL),
    OfficerSpec(name="dsl", title="dsl", duty=trust.Duty.SAFEGUARDING),
    OfficerSpec(name="head", title="head", duty=trust.Duty.SAFEGUARDING),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """``hosts``: names or addresses under which devices reach the collector, the first one preferred.

    ``passphrase`` None leaves the offline keys unprotected: for the demonstration and tests only.
    """

    state_dir: Path
    database_url: str
    keystore_url: str
    school_id: str
    school_name: str
    hosts: tuple[str, ...]
    now_ms: int
    time_zone: str = "Europe/London"
    uplink_port: int = 7444
    enrol_port: int = 7443
    groups: tuple[str, ...] = ("ks2-laptops", "staff-laptops")
    pack: str = "default"
    register: Path | None = None
    """The pack's register of people, where it does not lie beside the pack."""
    officers: tuple[OfficerSpec, ...] = FOUR_OFFICERS
    passphrase: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    school_id: str
    root_sha256: bytes
    keys: ServiceKeys
    offline: Path
    data_protection: Path
    accounts: tuple[str, ...]
    """What to print about first accounts: one line each, with sign-ins that are shown only once."""


AddAccounts = Callable[[Connection, ServiceKeys, int], tuple[str, ...]]
"""Makes the first console accounts inside the transaction that makes the school; returns a line about each to print."""


def init_school(options: InitOptions, add_accounts: AddAccounts | None = None) -> InitResult:
    """Makes the school. Raises ``InitError`` and leaves no part behind when it cannot."""
    check_options(options)
    building = _begin(options.state_dir)
    moved: list[Path] = []
    store: Store | None = None
    try:
        # First what needs no database: a pack with a mistake leaves none behind.
        root = _build(building, options)
        migrate(options.database_url, options.keystore_url)
        store = open_store(options.database_url, options.keystore_url)
        with store.read() as connection:
            held = connection.execute(select(schools.c.school_id)).scalar()
        if held is not None:
            raise InitError(f"the database holds the school {held!r} already: choose another database_url")
        for name in _MOVED:
            target = options.state_dir / name
            (building / name).rename(target)
            moved.append(target)
        keys = load_keys(options.state_dir)
        with store.write() as connection:
            connection.execute(insert(schools).values(_school_row(options)))
            published = Repository(options.state_dir).current()
            note_published(connection, options.school_id, None, published, options.now_ms)
            lines = add_accounts(connection, keys, options.now_ms) if add_accounts else ()
    except BaseException:
        for path in moved:
            shutil.rmtree(path)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        if store is not None:
            store.close()
    sheet = options.state_dir / "data-protection.md"
    if not sheet.exists():
        write_file(sheet, texts.data_protection(options.school_name, options.time_zone).encode())
    return InitResult(
        school_id=options.school_id,
        root_sha256=root,
        keys=keys,
        offline=SchoolPaths(options.state_dir).offline,
        data_protection=sheet,
        accounts=lines,
    )


def _begin(state_dir: Path) -> Path:
    """A folder to build in, on the disk where the school will lie."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".init-", dir=state_dir))
    except OSError as error:
        raise InitError(
            f"nothing can be made in {state_dir} ({error.strerror}): run this as root or as the collector's user, "
            "or set another state_dir"
        ) from error


def check_options(options: InitOptions) -> None:
    """Raises ``InitError`` for what can be known to be wrong before anything is made, or anybody asked."""
    try:
        check_school_id(options.school_id)
        for group in options.groups:
            check_group(group)
        if options.passphrase is not None:
            keyfile.check_passphrase(options.passphrase)
    except ValueError as error:
        raise InitError(str(error)) from error
    if not options.hosts or not options.groups:
        raise InitError("at least one --address and one --group are needed")
    for host in options.hosts:
        _check_host(host)
    try:
        ZoneInfo(options.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InitError(
            f"--time-zone {options.time_zone!r} is no time zone: give an IANA name, for example Europe/London"
        ) from error
    duties = {officer.duty for officer in options.officers}
    if len({officer.name for officer in options.officers}) < 4 or duties != set(trust.Duty):
        raise InitError("at least four officers are needed, technical and safeguarding among them")
    for name in _MOVED:
        path = options.state_dir / name
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InitError(
                f"{path} exists: this is a school already. "
                "To begin a new one choose another state_dir; nothing was changed"
            )


def _check_host(host: str) -> None:
    """Every device gets it, and certificates carry it: an address is wrong before the first of them is made."""
    try:
        ip_address(host)
    except ValueError as error:
        if len(host) > 253 or not _HOST_NAME.fullmatch(host):
            raise InitError(
                f"--address {host!r} is neither a host's name nor an IP address: give it without scheme, "
                "port or path, for example collector.westgate.example"
            ) from error


def _school_row(options: InitOptions) -> dict[str, object]:
    return {
        "school_id": options.school_id,
        "name": options.school_name,
        "generation": 1,
        "time_zone": options.time_zone,
        "created_ms": options.now_ms,
    }


def _build(folder: Path, options: InitOptions) -> bytes:
    """Everything but the database, under ``folder``; returns the hash of the first root."""
    keys = make_keys(folder, options.school_id, options.hosts)
    offline = SchoolPaths(folder).offline
    offline.mkdir(mode=0o700)
    root_keys = [keyfile.new_keys(f"root-{n}", None) for n in (1, 2, 3)]
    officers = {spec: keyfile.new_keys(spec.name, spec.duty) for spec in options.officers}
    online = keys.online.public_key().public_bytes_raw()
    unsigned = roots.make_root(
        version=1,
        root_keys=[k.signing.public_key().public_bytes_raw() for k in root_keys],
        officers=[
            roots.OfficerPublic(
                officer=spec.name, duty=spec.duty, signing_key=k.signing.public_key().public_bytes_raw()
            )
            for spec, k in officers.items()
        ],
        online_key=online,
        now_ms=options.now_ms,
    )
    root = roots.sign(unsigned, *(k.signing for k in root_keys))
    for officer in (*root_keys, *officers.values()):
        (offline / officer.officer).mkdir()
        # The pin lies in the key file: an officer's program needs nothing that the collector says later.
        pinned = replace(officer, root_sha256=trust.sha256(root))
        keyfile.save_keys(offline / officer.officer / f"{officer.officer}.key", pinned, options.passphrase)
    repository = Repository(folder)
    repository.publish_root(root)
    statement = make_statement(
        keys,
        school_name=options.school_name,
        officers=[k.public((spec.title,)) for spec, k in officers.items()],
        uplink=[join_address(h, options.uplink_port) for h in options.hosts],
        enrolment=[join_address(h, options.enrol_port) for h in options.hosts],
        now_ms=options.now_ms,
    )
    files = {trust.KEYS_TARGET: encode(statement)}
    people = register_for(folder, options.pack, options.register)
    for group in options.groups:
        files[trust.bundle_target(group)] = compile_bundle(
            options.pack, keys, group=group, version=1, now_ms=options.now_ms, register=people
        )
    files[trust.MOVES_TARGET] = staging.moves_target(files, options.school_id, options.now_ms)
    targets = roots.make_targets(version=1, files=files, online_key=online, now_ms=options.now_ms)
    signed = roots.sign(targets, *(k.signing for k in _one_of_each_duty(officers)))
    repository.publish_targets(signed, files, keys.online, options.now_ms)
    put_in_force(folder, options.pack)
    for key in keys.ingest.values():
        put_in_escrow(offline / "escrow", keys.school_id, key, statement.officers)
    write_file(offline / "root.json", root)
    write_file(offline / "README.md", texts.offline_readme(options, protected=options.passphrase is not None))
    return trust.sha256(root)


def _one_of_each_duty(officers: dict[OfficerSpec, keyfile.OfficerKeys]) -> list[keyfile.OfficerKeys]:
    return [next(k for spec, k in officers.items() if spec.duty is duty) for duty in trust.Duty]


def join_address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
