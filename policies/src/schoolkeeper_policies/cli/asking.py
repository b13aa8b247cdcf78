"""``explain``: what would happen, and why."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from schoolkeeper_policies.cli.shared import AsJson, Group, RegisterFile, Subject, fail, now_ms, wrong_use
from schoolkeeper_policies.devices import DeviceList, read_devices
from schoolkeeper_policies.explain import (
    Answer,
    LeftIdle,
    NetworkUsed,
    PeripheralUsed,
    Program,
    Question,
    SiteVisit,
    What,
    groups_of,
)
from schoolkeeper_policies.explain import explain as ask
from schoolkeeper_policies.moments import MomentMistake, read_moment, show_moment
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import open_subject
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto.model import Medium, MediumEncryption
from schoolkeeper_proto.policy import NetworkUse, PeripheralKind

_ID = re.compile("[0-9A-Fa-f]{4}")
"""Of a USB vendor or product, as `lsusb` prints it."""


def explain(
    policy: Subject,
    *,
    group: Group = "",
    device: Annotated[str, typer.Option(help="A device by name or id; needs --devices.")] = "",
    devices: Annotated[str, typer.Option(help="CSV with the columns device and group.")] = "",
    user: Annotated[str, typer.Option(help="The account that is signed in.")] = "",
    user_group: Annotated[
        list[str] | None, typer.Option(help="A group of that account, as people:pupils; several times.")
    ] = None,
    app: Annotated[str, typer.Option(help="Absolute path of a program that is started.")] = "",
    sha256: Annotated[str, typer.Option(help="Its SHA-256.")] = "",
    package: Annotated[str, typer.Option(help="The package it comes from.")] = "",
    usb: Annotated[str | None, typer.Option(help="A medium: vendor:product[:serial], or '' for any.")] = None,
    encryption: Annotated[str, typer.Option(help="How it is encrypted: none, luks2, bitlocker …")] = "none",
    bus: Annotated[str, typer.Option(help="How it is attached.")] = "usb",
    site: Annotated[str, typer.Option(help="An address in the browser: example.org/path.")] = "",
    category: Annotated[
        list[str] | None, typer.Option(help="A category that the filter tells of the site; several times.")
    ] = None,
    network: Annotated[str, typer.Option(help="A use of the network: hotspot, tunnel …")] = "",
    peripheral: Annotated[str, typer.Option(help="camera, bluetooth, printer …")] = "",
    idle: Annotated[bool, typer.Option("--idle", help="A screen that nobody uses.")] = False,
    at: Annotated[
        str, typer.Option(help="'Mon 10:15' or '2026-11-23 10:15', the school's time; now without it.")
    ] = "",
    off_site: Annotated[bool, typer.Option("--off-site", help="Away from school.")] = False,
    on_site: Annotated[
        bool, typer.Option("--on-site", help="At school; without both the place is unknown.")
    ] = False,
    register: RegisterFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what the policy decides, by which rule, why, and what the person will read. Exit 0 whatever it decides."""
    whats = _whats(app, sha256, package, usb, encryption, bus, site, category, network, peripheral, idle)
    if len(whats) != 1:
        wrong_use(
            "say what it is about: give exactly one of --app, --usb, --site (or --category), --network, "
            "--peripheral and --idle"
        )
    if off_site and on_site:
        wrong_use("give one of --off-site and --on-site, or neither")
    try:
        held = read_devices(devices) if devices else DeviceList()
        if device:
            group = _group_of(device, held, group)
        subject = open_subject(policy, group=group, now_ms=now_ms(), register=register)
        at_ms = read_moment(at, zone=subject.time_zone, now_ms=now_ms())
    except PolicyError as error:
        fail(error)
    except MomentMistake as error:
        wrong_use(str(error))
    place = "off-site" if off_site else "on-site" if on_site else "unknown"
    groups = groups_of(subject, user, tuple(user_group or ()))
    question = Question(what=whats[0], at_ms=at_ms, place=place, groups=groups)
    answer = ask(subject, question)
    if as_json:
        typer.echo(json.dumps(answer_json(answer, question, subject.bundle.manifest.group), indent=2))
        return
    who = "somebody who cannot be told" if groups is None else user or ", ".join(sorted(groups))
    typer.echo(
        f"{show_moment(at_ms, subject.time_zone)}, {place}, {who}, group {subject.bundle.manifest.group}"
    )
    typer.echo(answer_text(answer))


def _group_of(device: str, held: DeviceList, group: str) -> str:
    found = held.group_of(device)
    if found is None and not group:
        remedy = suggest(device, sorted(held.groups), "devices")
        wrong_use(
            f"the group of {device!r} is not known: give --group, or --devices with it"
            + (f"; {remedy}" if remedy else "")
        )
    return found or group


def _whats(
    app: str,
    sha256: str,
    package: str,
    usb: str | None,
    encryption: str,
    bus: str,
    site: str,
    category: list[str] | None,
    network: str,
    peripheral: str,
    idle: bool,
) -> list[What]:
    whats: list[What] = []
    if app or sha256 or package:
        if not app.startswith("/"):
            wrong_use("--app takes an absolute path, as /usr/bin/steam")
        whats.append(Program(path=app, sha256=sha256, package=package))
    if usb is not None:
        whats.append(_medium(usb, encryption, bus))
    if site or category:
        whats.append(SiteVisit(site=site, categories=frozenset(category or ())))
    if network:
        whats.append(NetworkUsed(use=_word(network, [str(use) for use in NetworkUse])))
    if peripheral:
        whats.append(PeripheralUsed(kind=_word(peripheral, [str(kind) for kind in PeripheralKind])))
    if idle:
        whats.append(LeftIdle())
    return whats


def _medium(usb: str, encryption: str, bus: str) -> Medium:
    vendor, _, rest = usb.partition(":")
    product, _, serial = rest.partition(":")
    if usb and not (_ID.fullmatch(vendor) and _ID.fullmatch(product)):
        wrong_use(
            f"--usb takes vendor:product[:serial], four digits each as 0781:5567, not {usb!r}; '' for any"
        )
    return Medium(
        kernel_name="",
        vendor_id=vendor,
        product_id=product,
        serial=serial,
        bus=bus,
        encryption=MediumEncryption(_word(encryption, [str(one) for one in MediumEncryption])),
    )


def _word(given: str, words: list[str]) -> str:
    known = [word for word in words if word != "unspecified"]
    if given not in known:
        wrong_use(f"{given!r} is not known; {suggest(given, known, 'words')}")
    return given


def answer_text(answer: Answer) -> str:
    """For a person."""
    lines = [f"decision: {answer.decision}"]
    if answer.seconds:
        lines[0] += f" after {answer.seconds} seconds"
    if answer.asked != answer.decision:
        lines.append(f"  the rule says {answer.asked}, but it is on trial")
    if answer.text is None:
        lines.append("rule: none; this is what everything else gets")
    else:
        where = f" ({answer.position})" if answer.position else ""
        lines.append(f"rule: {answer.text.rule_id}{where}: {answer.text.description}")
        lines.append(f"source: {', '.join(answer.text.source) or 'none given'}")
        lines.append(f"why: {answer.text.why}")
        if answer.text.safeguarding:
            lines.append("safeguarding: yes")
    if answer.words is not None:
        lines.append(f"the person reads: {answer.words.title}")
        lines += [f"  | {line}" for line in answer.words.text.splitlines()]
    else:
        lines.append("the person reads: nothing")
    lines += answer.notes
    decided = answer.text.rule_id if answer.text is not None else ""
    for concern in answer.concerned:
        if concern.rule_id != decided:
            holds = "holds" if concern.holds else "does not hold now"
            unsure = "" if concern.told else ", as place or person cannot be told"
            lines.append(
                f"also about it: {concern.rule_id} ({concern.mode} {concern.decision}) {holds}{unsure}"
            )
    return "\n".join(lines)


def answer_json(answer: Answer, question: Question, group: str) -> dict[str, Any]:
    """Stable: keys are added, never changed."""
    text = answer.text
    return {
        "format": 1,
        "group": group,
        "at_unix_ms": question.at_ms,
        "place": question.place,
        "user_groups": sorted(question.groups) if question.groups is not None else None,
        "decision": answer.decision,
        "asked": answer.asked,
        "seconds": answer.seconds,
        "rule": None
        if text is None
        else {
            "id": text.rule_id,
            "position": answer.position,
            "description": text.description,
            "why": text.why,
            "source": list(text.source),
            "mode": str(text.mode),
            "severity": str(text.severity),
            "safeguarding": text.safeguarding,
        },
        "words": None if answer.words is None else {"title": answer.words.title, "text": answer.words.text},
        "concerned": [
            {"rule": c.rule_id, "decision": c.decision, "mode": c.mode, "holds": c.holds, "told": c.told}
            for c in answer.concerned
        ],
        "notes": list(answer.notes),
    }
