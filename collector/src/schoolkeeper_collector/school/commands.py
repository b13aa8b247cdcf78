"""``init``, ``stage``, ``publish`` and ``refresh``: a school's roots from the command line."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy import Connection

from schoolkeeper_collector.config import ConfigError, Settings, load_settings
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.accounts import create_account
from schoolkeeper_collector.devices.fleet import DeviceError
from schoolkeeper_collector.rollout import planning
from schoolkeeper_collector.rollout.options import RolloutOptions, staged_rollout
from schoolkeeper_collector.rollout.rings import RingsError
from schoolkeeper_collector.school import key_changes, moving, rotation, staging
from schoolkeeper_collector.school.bundles import compile_bundle, register_for
from schoolkeeper_collector.school.init import (
    FOUR_OFFICERS,
    InitError,
    InitOptions,
    InitResult,
    check_options,
    init_school,
)
from schoolkeeper_collector.school.keys import (
    KeysError,
    ServiceKeys,
    load_keys,
    write_tls,
)
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.school.statement import (
    with_addresses,
)
from schoolkeeper_collector.store.database import StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.officer import words
from schoolkeeper_policies.officer.keyfile import KeyFileError
from schoolkeeper_policies.officer.record import Assessment, RecordError
from schoolkeeper_policies.officer.review import Review
from schoolkeeper_policies.officer.signing import SigningError
from schoolkeeper_policies.officer.staged import StagedError
from schoolkeeper_policies.officer.staged import pack as pack_staged
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode, encode

T = TypeVar("T")
CONSENT = "The school's leadership consents to this change, having read both risk assessments."
_FAULTS = (
    ConfigError,
    DeviceError,
    InitError,
    KeyFileError,
    KeysError,
    NotPublished,
    PackInForceError,
    PolicyError,
    RecordError,
    RepositoryError,
    RingsError,
    SchemaError,
    SigningError,
    StagedError,
    StoreUrlError,
    trust.TrustRefused,
    PermissionError,
)
FIRST_ACCOUNTS = (
    ("dsl", "Designated safeguarding lead", Role.DSL),
    ("head", "Head", Role.HEAD),
    ("technician", "Technician", Role.TECHNICIAN),
)


def register(app: typer.Typer) -> None:
    """Adds the commands to the collector's program."""
    app.command("init")(init)
    app.command("stage")(stage)
    app.command("waiting")(waiting)
    app.command("school-file")(school_file)
    app.command("publish")(publish)
    app.command("refresh")(refresh)
    # Here, because it uses this module's helpers.
    from schoolkeeper_collector.school import key_commands

    key_commands.register(app)


def init(
    school_id: Annotated[str, typer.Option(help="Short name of the school, for example westgate.example.")],
    name: Annotated[str, typer.Option(help="The school's name as people read it.")],
    address: Annotated[
        list[str], typer.Option(help="Name or IP address devices reach this machine under; repeat.")
    ],
    group: Annotated[list[str], typer.Option(help="A group of devices; repeat.")] = [  # noqa: B006 - typer copies it
        "ks2-laptops",
        "staff-laptops",
    ],
    pack: Annotated[str, typer.Option(help="Policy pack: a name, or a folder.")] = "default",
    time_zone: Annotated[str, typer.Option(help="IANA name of the school's time zone.")] = "Europe/London",
    uplink_port: Annotated[int, typer.Option(min=1, max=65535)] = 7444,
    enrol_port: Annotated[int, typer.Option(min=1, max=65535)] = 7443,
    people: Annotated[
        Path | None,
        typer.Option("--register", help="The pack's register of people, if it does not lie beside the pack."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the first passphrase of the offline keys.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="No passphrases. Never for a real school.")] = False,
) -> None:
    """Make a school: roots of trust, keys, certificates, policy, database, first accounts, data-protection sheet."""

    def work() -> InitResult:
        settings = load_settings()
        options = InitOptions(
            state_dir=settings.state_dir,
            database_url=settings.store_url,
            keystore_url=settings.keys_url,
            school_id=school_id,
            school_name=name,
            hosts=tuple(address),
            now_ms=now_ms(),
            time_zone=time_zone,
            uplink_port=uplink_port,
            enrol_port=enrol_port,
            groups=tuple(group),
            pack=pack,
            register=people,
        )
        check_options(options)
        if not demo:
            options = replace(options, passphrase=_passphrase(passphrase_file))
        if demo:
            _shout()
        result = init_school(options, first_accounts)
        _hand_over(settings)
        return result

    _print_result(guarded(work), demo=demo)


def stage(
    group: Annotated[list[str], typer.Option(help="Compile this group's bundle anew; repeat.")] = [],  # noqa: B006
    pack: Annotated[
        str, typer.Option(help="Policy pack: a name, or a folder; the one in force if left out.")
    ] = "",
    address: Annotated[
        list[str], typer.Option(help="Move: HOST:UPLINK:ENROL, in order of preference; repeat.")
    ] = [],  # noqa: B006
    replace_officer: Annotated[
        str, typer.Option(help="Who leaves; needs --by, and signatures by two root keys as well.")
    ] = "",
    by: Annotated[Path | None, typer.Option(help="File that the new officer wrote: `keys public`.")] = None,
    new_ingest_key: Annotated[
        bool,
        typer.Option("--new-ingest-key", help="One more key that devices seal to; yearly, or after a theft."),
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, for the change log.")] = "",
    technical_assessment: Annotated[
        Path | None,
        typer.Option(help="File with the technical risk assessment of a weaker safeguarding rule."),
    ] = None,
    technical_by: Annotated[str, typer.Option(help="The technical officer who wrote it and will sign.")] = "",
    educational_assessment: Annotated[
        Path | None, typer.Option(help="File with the educational risk assessment.")
    ] = None,
    educational_by: Annotated[
        str, typer.Option(help="The safeguarding officer who wrote it and will sign.")
    ] = "",
    consent_by: Annotated[
        str, typer.Option(help="The officer of the leadership who consents by signing.")
    ] = "",
    rings: Annotated[
        str, typer.Option(help="Roll out in rings, for example pilot.csv,10%,50%,all; left out: all at once.")
    ] = "",
    soak: Annotated[
        str, typer.Option(help="How long a device must run it before it counts as fine: 30m, 24h, 2d.")
    ] = "24h",
    forecast: Annotated[
        str,
        typer.Option(
            help="File of `schoolkeeper-collector policy plan --json`: the refusals to expect; or a number per 1000 "
            "device-days."
        ),
    ] = "",
    in_lessons: Annotated[str, typer.Option(help="Why rings may open in lessons, too.")] = "",
    previous_content: Annotated[
        bool,
        typer.Option("--previous-content", help="The rules before the newest ones, as a new version."),
    ] = False,
    register: Annotated[
        Path | None,
        typer.Option(help="The pack's register of people, if it lies elsewhere; it is read and not copied."),
    ] = None,
    allow_move: Annotated[
        list[str],
        typer.Option(
            help="DEVICE=GROUP: the device may move there within 30 days although rules are weaker; repeat."
        ),
    ] = [],  # noqa: B006
) -> None:
    """Prepare a change of policy, addresses or officers for the officers to sign.

    A change that weakens a safeguarding rule needs --why, both assessments and the leadership's consent.
    """

    def work() -> Path:
        settings, keys = school()
        repository = Repository(settings.state_dir)
        held = repository.current()
        now = now_ms()
        changed: dict[str, bytes] = {}
        used: str | Path = pack or pack_in_force(settings.state_dir)
        removed: frozenset[str] = frozenset()
        if register is not None and (previous_content or not group):
            raise RepositoryError("--register goes with a --group, whose bundle is compiled anew")
        people = register_for(settings.state_dir, used, register) if group and not previous_content else None
        if previous_content and pack:
            raise RepositoryError(
                "--previous-content takes no --pack: the rules come from what was published"
            )
        if (previous_content or rings) and not group:
            raise RepositoryError("--rings and --previous-content need a --group")
        options = RolloutOptions(rings=rings, soak=soak, forecast=forecast, in_lessons=in_lessons)
        for each in group:
            version = held.bundles.get(each, (b"", 0))[1] + 1
            bundle = (
                planning.previous_content(repository, held, each, now)
                if previous_content
                else compile_bundle(used, keys, group=each, version=version, now_ms=now, register=people)
            )
            part = staged_rollout(settings, keys.school_id, repository, held, each, bundle, options, now)
            changed |= {trust.bundle_target(each): bundle} | part.changed
            removed |= part.removed
        if address:
            moved = with_addresses(decode(policy.KeyStatement, held.key_statement), *_addresses(address), now)
            changed[trust.KEYS_TARGET] = encode(moved)
        new_root = None
        if replace_officer or new_ingest_key:
            if address:
                raise RepositoryError(
                    "--address goes alone, without a change of keys: stage one after the other"
                )
            wish = _replacing(replace_officer, by, new_ingest_key=new_ingest_key)
            prepared = key_changes.prepare(settings.state_dir, keys, wish, now)
            new_root, changed[trust.KEYS_TARGET] = prepared.root, encode(prepared.statement)
            typer.echo("\n".join((*prepared.said, "")))
        groups = frozenset({*held.bundles, *group})
        allowed = moving.allowed_moves(settings, keys.school_id, allow_move, groups, why, now)
        if not (changed or allowed):
            raise RepositoryError(
                "nothing to stage: name a --group, an --address, --replace-officer, --allow-move or --new-ingest-key"
            )
        before = _waiting_before(settings.state_dir, now)
        folder = staging.stage(
            settings.state_dir,
            keys,
            changed,
            now,
            new_root=new_root,
            pack=used if group and not previous_content else None,
            removed=removed,
            allowed_moves=allowed,
            reasons=staging.Reasons(
                why=why,
                staged_by=getpass.getuser(),
                technical=_assessment(technical_assessment, technical_by),
                educational=_assessment(educational_assessment, educational_by),
                consent=Assessment(by=consent_by, text=CONSENT) if consent_by else None,
            ),
        )
        if address:
            old = decode(policy.KeyStatement, held.key_statement).uplink_addresses
            hosts = [_host(text, 2) for text in address] + [_host(text, 1) for text in old]
            write_tls(settings.state_dir, keys.ca_key, keys.ca_certificate, tuple(dict.fromkeys(hosts)))
        typer.echo(_replaced(before), nl=False)
        return folder

    folder = guarded(work)
    if replace_officer:
        typer.echo("A new root: two root keys sign it first, by the same command.\n")
    typer.echo(f"Staged in {folder}. One technical and one safeguarding officer run:\n")
    typer.echo(
        f"  schoolkeeper-officer sign {folder} --key THEIR-KEY-FILE\n\nthen: schoolkeeper-collector publish"
    )


def _waiting_before(state_dir: Path, now: int) -> Review | None:
    """What waits already; None, too, if it cannot be read: it is about to be replaced."""
    try:
        found = staging.read_waiting(state_dir, now)
    except _FAULTS:
        return None
    return found[1] if found else None


def _replaced(seen: Review | None) -> str:
    """Said after a change was staged over another one: only one waits at a time, and its signatures are void."""
    if seen is None:
        return ""
    what = ", ".join(bundle.target for bundle in seen.bundles) or "no policy"
    signed = ", ".join(sorted(seen.signed_by)) or "nobody"
    return (
        f"It replaces the change that waited ({what}; signed by {signed}), which is gone with its signatures. "
        "Name every --group in one command to stage them together.\n\n"
    )


def waiting(
    out: Annotated[Path | None, typer.Option(help="Write the change into this .skchange file.")] = None,
    add: Annotated[
        Path | None, typer.Option(help="Add the signatures of an officer's .sksigned file.")
    ] = None,
) -> None:
    """Show the change that waits for signatures; write it to a file, or take an officer's signatures."""

    def work() -> str:
        state_dir = load_settings().state_dir
        if add is not None:
            staging.take_signatures(state_dir, _read(add), str(add), now_ms())
        found = staging.read_waiting(state_dir, now_ms())
        if found is None:
            return "No change waits."
        staged, seen = found
        if out is not None:
            out.write_bytes(pack_staged(staged))
        said = [*words.review_text(seen)]
        if out is not None:
            said += [
                "",
                f"{out}: written. Officers sign it: schoolkeeper-officer sign {out} --key THEIR-KEY-FILE",
            ]
        return "\n".join(said)

    typer.echo(guarded(work))


def school_file(
    out: Annotated[Path, typer.Argument(help="Where the .skschool file goes; it holds nothing secret.")],
) -> None:
    """Write what is in force into one file: officers make and sign grants against it."""
    guarded(lambda: out.write_bytes(staging.school_file(load_settings().state_dir)))
    typer.echo(
        f"{out}: give it to the officers; each keeps it with `schoolkeeper-officer grant school {out} --key FILE`."
    )


def publish() -> None:
    """Publish what two officers signed; refused when a device would refuse it."""

    def work() -> str:
        settings, keys = school()
        before = Repository(settings.state_dir).current()
        store = open_store(settings.store_url, settings.keys_url)
        try:
            check_schema(store)
            done = staging.publish_staged(settings.state_dir, keys, now_ms())
            with store.write() as connection:
                note_published(connection, keys.school_id, before, done, now_ms())
        finally:
            store.close()
        bundles = ", ".join(f"{group} {version}" for group, (_, version) in sorted(done.bundles.items()))
        return f"Published targets {done.targets_version}; bundles: {bundles}"

    typer.echo(guarded(work))


def refresh() -> None:
    """Sign snapshot and timestamp anew now; the running collector does it by itself."""

    def work() -> str:
        settings, keys = school()
        done = Repository(settings.state_dir).refresh(keys.online, now_ms(), force=True)
        return f"Timestamp {done.timestamp_version} holds until {_date(done.expires_unix_ms)}"

    typer.echo(guarded(work))


def first_accounts(connection: Connection, keys: ServiceKeys, now: int) -> tuple[str, ...]:
    """One account per role; each person sets their own second factor and password at the first sign-in."""
    lines = []
    for login, display_name, role in FIRST_ACCOUNTS:
        made = create_account(
            connection,
            school_id=keys.school_id,
            login=login,
            display_name=display_name,
            role=role,
            console_key=keys.console_key,
            now_ms=now,
        )
        lines.append(f"{login:12} first password: {made.password}")
    return tuple(lines)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _replacing(gone: str, by: Path | None, *, new_ingest_key: bool) -> key_changes.KeyWish:
    if bool(gone) is not bool(by):
        raise RepositoryError(
            "--replace-officer needs --by: the file that the new officer's `keys public` wrote"
        )
    return key_changes.KeyWish(
        leaving=(gone,) if gone else (), officer_files=(by,) if by else (), new_ingest_key=new_ingest_key
    )


def _assessment(file: Path | None, by: str) -> Assessment | None:
    if file is None:
        return None
    data = _read(file)
    try:
        return Assessment(by=by, text=data.decode().strip())
    except UnicodeDecodeError as error:
        remedy = "save the assessment as plain text (UTF-8); it goes into the change log word for word"
        raise RepositoryError(wrong_kind(str(file), "plain text", data, remedy)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error


def school() -> tuple[Settings, ServiceKeys]:
    settings = load_settings()
    rotation.settle_online_key(settings.state_dir)
    return settings, load_keys(settings.state_dir)


def guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except _FAULTS as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _passphrase(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            raise InitError(f"the passphrase file {file} cannot be read: {error.strerror}") from error
    first = getpass.getpass("Passphrase for the offline keys (four or more words): ")
    if getpass.getpass("Once more: ") != first:
        raise InitError("the two passphrases differ: nothing was made")
    return first


def _addresses(texts: list[str]) -> tuple[list[str], list[str]]:
    uplink, enrol = [], []
    for text in texts:
        host, first, second = (*text.rsplit(":", 2), "", "")[:3]
        if not (host and first.isdecimal() and second.isdecimal()):
            raise InitError(
                f"{text!r} is not HOST:UPLINK-PORT:ENROL-PORT, for example sk.school.example:7444:7443"
            )
        uplink.append(f"{host}:{first}")
        enrol.append(f"{host}:{second}")
    return uplink, enrol


def _host(text: str, ports: int) -> str:
    return text.rsplit(":", ports)[0].strip("[]")


def _hand_over(settings: Settings) -> None:
    """Run by root for a service of another user: what it needs belongs to that user, the offline part to root."""
    owner = settings.state_dir.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in settings.state_dir.rglob("*"):
        if "offline" not in path.relative_to(settings.state_dir).parts:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _shout() -> None:
    line = "!" * 78
    typer.secho(
        f"{line}\nDEMONSTRATION: every key lies unprotected on this machine, offline and officers' keys too.\n"
        f"Whoever reads this disk can make policy. Never enrol a real device into this school.\n{line}",
        fg=typer.colors.RED,
        bold=True,
        err=True,
    )


def _print_result(result: InitResult, *, demo: bool) -> None:
    typer.echo(f"School     {result.school_id}\nRoot hash  {result.root_sha256.hex()}")
    typer.echo(f"Officers   {', '.join(spec.name for spec in FOUR_OFFICERS)}")
    typer.echo(
        f"Offline    {result.offline}"
        + ("" if demo else "  <- move it off this machine today: see its README")
    )
    typer.echo(f"To fill in {result.data_protection}\n\nFirst sign-ins (shown once):")
    for line in result.accounts:
        typer.echo(f"  {line}")


def _date(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_ms // 1000))
