"""What an event of each kind looks like on a school's laptop: programs, media, checks and people."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Final

from schoolkeeper_proto import model

_PROGRAMS: Final = (
    ("/usr/lib/firefox-esr/firefox-esr", "firefox-esr", "Firefox"),
    ("/usr/lib/chromium/chromium", "chromium", "Chromium"),
    ("/usr/lib/libreoffice/program/soffice.bin", "libreoffice-core", "LibreOffice"),
    ("/usr/bin/scratch-desktop", "scratch-desktop", "Scratch"),
    ("/usr/bin/thonny", "thonny", "Thonny"),
    ("/usr/bin/gimp-2.10", "gimp", "GIMP"),
    ("/usr/bin/geogebra", "geogebra", "GeoGebra"),
    ("/usr/bin/audacity", "audacity", "Audacity"),
)
_REFUSED: Final = (
    ("/home/pupil/games/launcher/steam", "Game launcher", "games.launchers"),
    ("/home/pupil/Downloads/lutris", "Game launcher", "games.launchers"),
    ("/home/pupil/tor-browser/Browser/firefox", "Tor Browser", "bypass.tor"),
    ("/home/pupil/bin/protonvpn", "VPN program", "bypass.vpn"),
)
_CHECKS: Final = ("disk-encryption", "antivirus", "updates", "screen-lock")
_SITES: Final = ("games", "video", "social", "adult", "gambling", "proxy")
_STICKS: Final = (("0781", "5567"), ("0951", "1666"), ("090c", "1000"))


def user(number: int) -> model.UserRef:
    """A pupil's pseudonym; the same number is the same pupil."""
    return model.UserRef(
        pseudonym=hashlib.sha256(b"pupil/%d" % number).digest()[:16], kind=model.UserKind.PERSON
    )


def body_of(
    kind: str, chance: random.Random, *, device: int, at_ms: int
) -> tuple[model.Body, model.Severity]:
    """An event's body and severity. Raises KeyError for a kind that the week does not have."""
    severity, make = _MAKERS[kind]
    return make(chance, device, at_ms), severity


def process_event(number: int) -> model.Body:
    """The event that throughput is measured with: about 270 bytes once it is serialised with its envelope."""
    path, package, name = _PROGRAMS[number % len(_PROGRAMS)]
    application = model.Application(
        path=path,
        sha256=hashlib.sha256(b"program/%d" % number).digest(),
        name=name,
        package=package,
        identity=f"{name} {number % 997} -contentproc -childID {number} -isForBrowser -prefsLen 31336",
    )
    rule = model.RuleRef(rule_id="observe.programs", source="T-17", decision=model.DecisionKind.OBSERVE)
    return model.ApplicationStarted(
        application=application,
        process_id=1_000 + number % 30_000,
        parent_process_id=1 + number % 900,
        rule=rule,
    )


def _application(chance: random.Random) -> model.Application:
    path, package, name = chance.choice(_PROGRAMS)
    return model.Application(
        path=path, sha256=hashlib.sha256(path.encode()).digest(), name=name, package=package, identity=name
    )


def _refused(chance: random.Random, _device: int, _at: int) -> model.Body:
    path, name, rule = chance.choices(_REFUSED, (12, 6, 1, 1))[0]
    return model.ApplicationRefused(
        application=model.Application(
            path=path, sha256=hashlib.sha256(path.encode()).digest(), name=name, identity=name
        ),
        process_id=chance.randrange(1_000, 30_000),
        rule=model.RuleRef(rule_id=rule, source="T-17", decision=model.DecisionKind.BLOCK, enforced=True),
    )


def _medium(chance: random.Random, device: int) -> model.Medium:
    vendor, product = chance.choice(_STICKS)
    return model.Medium(
        kernel_name="sdb",
        vendor_id=vendor,
        product_id=product,
        serial=f"{device:04d}{chance.randrange(10**8):08d}",
        bus="usb",
        size_bytes=chance.choice((8, 16, 32)) << 30,
        encryption=model.MediumEncryption.NONE,
        file_system="vfat",
    )


def _posture(chance: random.Random, _device: int, at_ms: int) -> model.Body:
    results = (model.PostureResult.PASS, model.PostureResult.FAIL, model.PostureResult.UNKNOWN)
    result = chance.choices(results, (97, 2, 1))[0]
    because = "the check's program did not answer" if result is model.PostureResult.UNKNOWN else ""
    return model.Posture(
        check=chance.choice(_CHECKS),
        result=result,
        since_unix_ms=at_ms,
        evaluated_at_unix_ms=at_ms,
        unknown_because=because,
    )


def _heartbeat(chance: random.Random, device: int, at_ms: int) -> model.Body:
    return model.Heartbeat(
        uptime_seconds=at_ms // 1000,
        resident_bytes=54_000_000 + chance.randrange(1_000_000),
        cpu_milliseconds=at_ms // 2_000_000,
        bundle_hash=hashlib.sha256(b"bundle").digest(),
        last_checkpoint_hash=hashlib.sha256(b"%d/%d" % (device, at_ms)).digest(),
    )


def _aggregate(chance: random.Random) -> bytes:
    return chance.randbytes(16)


def _hour(at_ms: int) -> int:
    return at_ms - at_ms % 3_600_000


_Maker = Callable[[random.Random, int, int], model.Body]
_INFO, _LOW, _MEDIUM, _HIGH = (
    model.Severity.INFORMATIONAL,
    model.Severity.LOW,
    model.Severity.MEDIUM,
    model.Severity.HIGH,
)
_MAKERS: Final[dict[str, tuple[model.Severity, _Maker]]] = {
    "heartbeat": (_INFO, _heartbeat),
    "posture": (_INFO, _posture),
    "session.signed_in": (_INFO, lambda c, d, at: model.SignedIn(session_id="c2", session_type="x11")),
    "session.signed_out": (_INFO, lambda c, d, at: model.SignedOut(session_id="c2")),
    "session.locked": (
        _INFO,
        lambda c, d, at: model.SessionLocked(session_id="c2", cause="idle", verified=True),
    ),
    "session.unlocked": (_INFO, lambda c, d, at: model.SessionUnlocked(session_id="c2")),
    "application.usage": (
        _INFO,
        lambda c, d, at: model.ApplicationUsage(
            aggregate_id=_aggregate(c),
            application=_application(c),
            hour_start_unix_ms=_hour(at),
            starts=c.randrange(1, 6),
            running_seconds=c.randrange(60, 3_000),
            first_start_unix_ms=at,
        ),
    ),
    "site.refused": (
        _INFO,
        lambda c, d, at: model.SiteRefused(
            aggregate_id=_aggregate(c),
            browser="firefox",
            site_category=c.choice(_SITES),
            hour_start_unix_ms=_hour(at),
            refusals=c.randrange(1, 9),
        ),
    ),
    "application.refused": (_LOW, _refused),
    "network.changed": (
        _INFO,
        lambda c, d, at: model.NetworkChanged(
            medium="wireless", network_hash=c.randbytes(16), place=model.Place.ON_SITE
        ),
    ),
    "aup.accepted": (
        _INFO,
        lambda c, d, at: model.AcceptableUseAccepted(
            document="acceptable-use", document_version="2026-09", accepted_by="self"
        ),
    ),
    "media.attached": (_INFO, lambda c, d, at: model.MediumAttached(medium=_medium(c, d))),
    "media.write_refused": (_LOW, lambda c, d, at: model.MediumWriteRefused(medium=_medium(c, d), count=1)),
    "network.filter_bypass": (
        _HIGH,
        lambda c, d, at: model.FilterBypass(technique=c.choice(("vpn", "proxy", "dns-over-https"))),
    ),
    "agent.tampered": (_HIGH, lambda c, d, at: model.AgentTampered(what="unit-file", detail="mode changed")),
    "clock.changed": (
        _MEDIUM,
        lambda c, d, at: model.ClockChanged(
            step_milliseconds=c.randrange(2_000, 90_000), direction="forward"
        ),
    ),
    "agent.gap": (
        _MEDIUM,
        lambda c, d, at: model.Gap(what="processes", count=c.randrange(1, 9), count_known=True),
    ),
    "person.report": (
        _HIGH,
        lambda c, d, at: model.PersonReport(
            recipient="dsl",
            category="worried",
            words=model.SealedField(
                scheme=model.SealingScheme.ANY_ONE, withheld=True, category="person.report"
            ),
            reference=f"R{c.randrange(10**6):06d}",
        ),
    ),
}
