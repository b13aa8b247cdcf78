"""One request, from the question to the end: run as root by systemd for each connection, and gone afterwards.

Whoever asks is who the kernel says. What may be done the service decides; nothing is written before it has the sealed
recovery key and the person has said that everything on the medium may be lost.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schoolkeeper_agent.encrypting.lines import Line, LineMistake, text, unfit
from schoolkeeper_agent.encrypting.stick import Stick, StickError, new_recovery_key
from schoolkeeper_agent.enforcers.linux.media_hold import tell_udev
from schoolkeeper_agent.peers import peer_of
from schoolkeeper_proto import model, sealing
from schoolkeeper_proto.codec import encode

SERVICE = "media.sock"
CATEGORY = "media.recovery-key"
_ANSWER_S, _PERSON_S = 30.0, 900.0


class _Cancelled(Exception):
    """The person hung up."""


class _No(Exception):
    """In words for the person."""


def serve(
    connection: socket.socket,
    run_dir: Path,
    *,
    sys_root: Path = Path("/sys"),
    inside: bool = True,
    unlock_ms: int = 2000,
) -> None:
    """Serves one connection to its end. ``inside`` False leaves the file system out (a kernel without dm-crypt)."""
    person = Line(connection)
    try:
        _serve(person, peer_of(connection).user_id, run_dir, (sys_root, inside, unlock_ms))
    except (_No, StickError) as no:
        _say_no(person, str(no))
    except LineMistake:
        _say_no(
            person, "this program and the school's agent do not understand each other: is one of them older?"
        )
    except (OSError, _Cancelled):
        _say_no(person, "it was interrupted; what is on the medium is said when it is plugged in again")


def _serve(person: Line, user_id: int, run_dir: Path, how: tuple[Path, bool, int]) -> None:
    sys_root, inside, unlock_ms = how
    device = text(person.hear(_ANSWER_S), "encrypt", 64)
    with contextlib.closing(_service(run_dir)) as service:
        service.say(user=user_id, device=device)
        offer = service.hear(_ANSWER_S)
        _refused(offer)
        disk = sys_root / "block" / str(offer["device"])
        stick = Stick(disk=disk, sequence=int(offer["sequence"]), unlock_ms=unlock_ms)
        person.say(offer={name: offer[name] for name in ("device", "size", "holds", "school", "why")})
        answer = person.hear(_PERSON_S)
        if answer.get("lose") is not True:
            raise _No("nothing was changed")
        passphrase = text(answer, "passphrase", 1024)
        if why := unfit(passphrase):
            raise _No(f"this passphrase will not do: {why}; nothing was changed")
        _encrypt(person, service, stick, offer, passphrase, inside=inside)


def _encrypt(
    person: Line, service: Line, stick: Stick, offer: dict[str, Any], passphrase: str, *, inside: bool
) -> None:
    key = new_recovery_key()
    reference = hashlib.sha256(key.encode()).hexdigest()[:8].upper()
    begun = False
    try:
        with stick:
            service.say(begin=reference, sealed=base64.b64encode(encode(_sealed(key, offer))).decode())
            _refused(service.hear(_ANSWER_S))
            begun = True
            size = stick.size
            for done in stick.overwrite():
                person.say(doing="overwriting", done=done, size=size)
                if person.is_gone:
                    raise _Cancelled
            person.say(doing="encrypting")
            stick.encrypt(passphrase, key)
        if inside:
            stick.fill(passphrase)
    except (StickError, OSError, _Cancelled) as error:
        if begun:
            why = "cancelled" if isinstance(error, (_Cancelled, BrokenPipeError)) else str(error)
            service.say(state="failed", why=why[:200])
        raise
    else:
        service.say(state="done", why="")
        service.hear(_ANSWER_S)
        # The technician has it, too, should nobody be there any more to be told.
        person.say(done=True, recovery_key=key, reference=reference)
    finally:
        with contextlib.suppress(OSError):
            tell_udev(stick.disk)


def _sealed(key: str, offer: dict[str, Any]) -> model.SealedField:
    """To the technicians alone: any one of them opens it."""
    binding = sealing.Binding(
        school_id=str(offer["school_id"]),
        device_id=bytes.fromhex(offer["device_id"]),
        epoch=bytes.fromhex(offer["epoch"]),
    )
    context = sealing.FieldContext(
        binding=binding, event_id=bytes.fromhex(offer["event_id"]), category=CATEGORY
    )
    recipients = [
        sealing.Recipient(name=name, public_key=X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
        for name, public in offer["recipients"]
    ]
    field = sealing.seal_field(key.encode(), model.SealingScheme.ANY_ONE, recipients, context)
    if field.withheld:
        raise _No("the school has named nobody who could keep the recovery key: tell the technician")
    return field


def _service(run_dir: Path) -> Line:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_ANSWER_S)
        connection.connect(str(run_dir / SERVICE))
    except OSError as error:
        connection.close()
        raise _No(
            f"the school's agent does not run on this device ({error.strerror}): nothing was changed"
        ) from error
    return Line(connection)


def _refused(answer: dict[str, Any]) -> None:
    if not answer or "no" in answer:
        raise _No(str(answer.get("no") or "the school's agent did not answer: nothing was changed"))


def _say_no(person: Line, why: str) -> None:
    with contextlib.suppress(OSError):
        person.say(no=why)
