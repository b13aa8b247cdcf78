"""``schoolkeeper-officer grant``: make, look at and sign a grant; the file goes to the console or the collector."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.officer import grants, keyfile
from schoolkeeper_policies.officer import school as schools
from schoolkeeper_policies.officer.asking import guarded, open_keys
from schoolkeeper_policies.officer.grants import GrantError, GrantReview, Wish
from schoolkeeper_policies.officer.school import School
from schoolkeeper_policies.replacing import replace_file
from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind

app = typer.Typer(help="Overrides beside the signed policy, each with an end.", no_args_is_help=True)
Key = Annotated[Path, typer.Option(help="The officer's key file.")]
SchoolFile = Annotated[
    Path | None, typer.Option(help="The school's .skschool file; the one given last if left out.")
]
Many = list[str]


class Granted(StrEnum):
    """Every kind of the wire but the one that is none."""

    OBSERVE = GrantKind.OBSERVE.value
    EXCEPTION = GrantKind.EXCEPTION.value
    LESSON = GrantKind.LESSON.value
    EMERGENCY_BLOCK = GrantKind.EMERGENCY_BLOCK.value
    ISOLATE = GrantKind.ISOLATE.value
    RELEASE = GrantKind.RELEASE.value
    LOST = GrantKind.LOST.value
    REVOKE = GrantKind.REVOKE.value


@app.command("new")
def new(
    kind: Annotated[Granted, typer.Option(help="What is granted.")],
    reason: Annotated[str, typer.Option(help="Why and for whom; kept, and not shown on the device.")],
    key: Key,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the .skgrant file goes.")],
    group: Annotated[Many, typer.Option(help="A group of devices; repeat.")] = [],  # noqa: B006
    device: Annotated[Many, typer.Option(help="A device's id, 32 digits; repeat.")] = [],  # noqa: B006
    rule: Annotated[Many, typer.Option(help="A rule it is about; repeat.")] = [],  # noqa: B006
    length: Annotated[
        str, typer.Option("--for", help="How long: 45m, 24h, 3d. A release: so long it is sent.")
    ] = "",
    mode: Annotated[str, typer.Option(help="observe: what rules do meanwhile, observe or warn.")] = "",
    notice: Annotated[str, typer.Option(help="Words for the person at the device.")] = "",
    block_file_name: Annotated[
        Many, typer.Option(help="emergency-block: a program's file name; repeat.")
    ] = [],  # noqa: B006
    block_path: Annotated[Many, typer.Option(help="emergency-block: a pattern over paths; repeat.")] = [],  # noqa: B006
    block_package: Annotated[Many, typer.Option(help="emergency-block: a package; repeat.")] = [],  # noqa: B006
    block_sha256: Annotated[Many, typer.Option(help="emergency-block: a file's SHA-256; repeat.")] = [],  # noqa: B006
    block_site: Annotated[
        Many, typer.Option(help="emergency-block: a site, example.org or example.org/path; repeat.")
    ] = [],  # noqa: B006
    end: Annotated[Many, typer.Option(help="revoke, release: the grant that ends; repeat.")] = [],  # noqa: B006
    quiet: Annotated[
        bool, typer.Option("--quiet", help="isolate: for a case about staff; nothing is said at the device.")
    ] = False,
    ground_by: Annotated[
        str, typer.Option(help="isolate --quiet: whose recorded ground it is, head or chair.")
    ] = "",
    ground: Annotated[
        str, typer.Option(help="isolate --quiet: the number under which the ground is recorded.")
    ] = "",
    school: SchoolFile = None,
) -> None:
    """Make a grant, unsigned, and say what it does."""

    def work() -> tuple[GrantReview, School]:
        found = _school(key, school)
        granted = GrantKind(kind)
        blocks = (
            (policy.MatchBy.FILE_NAME, block_file_name),
            (policy.MatchBy.PATH_PATTERN, block_path),
            (policy.MatchBy.PACKAGE, block_package),
            (policy.MatchBy.SHA256, block_sha256),
        )
        wish = Wish(
            kind=granted,
            reason=reason,
            seconds=grants.parse_length(length or ("400d" if granted is GrantKind.RELEASE else "24h")),
            device_ids=tuple(_id(text, "--device") for text in device),
            groups=tuple(group),
            rule_ids=tuple(rule),
            notice=notice,
            allowed_mode=mode,
            blocks=tuple(policy.ApplicationMatch(by=by, text=one) for by, texts in blocks for one in texts),
            sites=tuple(block_site),
            ends=tuple(_id(text, "--end") for text in end),
            isolation=_terms(granted, ground_by, ground) if quiet else None,
        )
        made = grants.make(wish, found, _now())
        if out.exists():
            raise GrantError(f"{out} exists already and is not overwritten: choose another name")
        out.write_bytes(encode(made))
        return grants.look(encode(made), found, _now()), found

    looked, found = guarded(work)
    _say(looked, found)
    typer.echo(f"{out}: sign it with `schoolkeeper-officer grant sign {out} --key FILE`.")


@app.command("show")
def show(grant: Path, key: Key, school: SchoolFile = None) -> None:
    """Say what a grant does and who signed it."""

    def work() -> tuple[GrantReview, School]:
        found = _school(key, school)
        return grants.look(grant.read_bytes(), found, _now(), str(grant)), found

    _say(*guarded(work))


@app.command("sign")
def sign(
    grant: Path,
    key: Key,
    school: SchoolFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
) -> None:
    """Show a grant and sign it, in place."""
    keys = open_keys(key)

    def look() -> tuple[GrantReview, School]:
        found = _school(key, school)
        return grants.look(grant.read_bytes(), found, _now(), str(grant)), found

    looked, found = guarded(look)
    _say(looked, found)
    if not yes:
        typer.confirm(f"Sign as {keys.officer}?", abort=True)

    def work() -> GrantReview:
        signed = grants.sign(looked, keys, found, _now())
        replace_file(grant, encode(signed.grant))
        return signed

    signed = guarded(work)
    typer.echo(f"Signed as {keys.officer}.")
    typer.echo(f"Not enough yet: {signed.refused}" if signed.refused else "Complete: hand it in.")


@app.command("school")
def learn(school: Annotated[Path, typer.Argument(help="The school's .skschool file.")], key: Key) -> None:
    """Verify the school as it is in force and remember it, before you need it."""
    found = guarded(lambda: schools.keep(keyfile.read_head(key), school))
    typer.echo(
        f"{found.school_name}: version {found.targets_version}, groups {', '.join(sorted(found.bundles))}"
    )


def _terms(kind: GrantKind, ground_by: str, ground: str) -> policy.IsolationTerms:
    if kind is not GrantKind.ISOLATE:
        raise GrantError(f"--quiet is for isolate, not for {kind.value}")
    return policy.IsolationTerms(quiet=True, ground_by=ground_by, ground_reference=ground)


def _school(key: Path, file: Path | None) -> School:
    head = keyfile.read_head(key)
    if file is not None:
        return schools.keep(head, file)
    found = schools.known(head)
    if schools.age_ms(head) > schools.OLD_AFTER_MS:
        days = schools.age_ms(head) // 86_400_000
        typer.echo(
            f"What this program knows of the school is {days} days old: name a new file with --school.",
            err=True,
        )
    return found


def _say(looked: GrantReview, school: School) -> None:
    for line in grants.text(looked, school):
        typer.echo(line)


def _id(text: str, option: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise GrantError(f"{option} {text!r} is no id: 32 digits of 0-9 and a-f, as the console shows them")
    return raw


def _now() -> int:
    return time.time_ns() // 1_000_000
