"""Parsers of the trust parts: signed metadata, tokens, names, certificate requests, key files, preseeded files.

And the lines between the service and the helper in a person's session.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_agent.enrol_unattended import PreseedError, read_preseed
from schoolkeeper_agent.identity import IdentityError, load_identity, new_key, write_private
from schoolkeeper_agent.session import lines
from schoolkeeper_collector.devices.authority import Authority, CertificateRefused, read_request
from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.certificates import make_ca
from schoolkeeper_policies.officer import passkey, ways
from schoolkeeper_policies.officer.keyfile import KeyFileError, read_public
from schoolkeeper_proto import enrolment_token, names, trust
from support.authenticator import Authenticator
from support.fuzz.targets import Target

_ORIGIN = "http://localhost:7777"
_NOW_MS = 1_780_000_000_000
_KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(6)]


def _raw(number: int) -> bytes:
    return _KEYS[number].public_key().public_bytes_raw()


def _root() -> bytes:
    officers = [
        roots.OfficerPublic(officer="it", duty=trust.Duty.TECHNICAL, signing_key=_raw(3)),
        roots.OfficerPublic(officer="dsl", duty=trust.Duty.SAFEGUARDING, signing_key=_raw(4)),
    ]
    made = roots.make_root(
        version=1,
        root_keys=[_raw(0), _raw(1), _raw(2)],
        officers=officers,
        online_key=_raw(5),
        now_ms=_NOW_MS,
    )
    return roots.sign(made, *_KEYS[:2])


def _passkey(data: bytes) -> None:
    """What a browser brings when a passkey is added, as far as it goes without the key file."""
    text = data.decode("utf-8", "replace")
    created, answer = passkey.read_created(text), passkey.read_answer(text)
    held = passkey.Passkey(
        credential_id=created.credential_id, public_key=created.public_key, salt=bytes(32), name="x"
    )
    passkey.check_created(created, challenge=bytes(32), origin=_ORIGIN)
    passkey.check_answer(answer, held, challenge=bytes(32), origin=_ORIGIN)


def _ways(data: bytes) -> None:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return
    ways.read(said)


def _in_file(read: object, name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        assert callable(read)
        read(path)


def trust_targets() -> tuple[Target, ...]:
    """Both sides' parsers."""
    root = _root()
    view = trust.read_root(root)
    targets = roots.sign(
        roots.make_targets(version=1, files={"keys": b"k"}, online_key=_raw(5), now_ms=_NOW_MS),
        _KEYS[3],
        _KEYS[4],
    )
    parent = trust.read_targets(targets, view)
    groups = roots.make_groups(version=1, group_map=b"m", online=_KEYS[5], now_ms=_NOW_MS)
    made = Authenticator(_ORIGIN, key=_KEYS[0])
    held = passkey.Passkey(credential_id=b"id", public_key=made.public_key, salt=bytes(32), name="blue")
    way = ways.by_passkey({"key_id": "00"}, bytes(32), held, bytes(32), "2026-11-22")
    token = enrolment_token.EnrolmentToken(
        token_id="00" * 8, secret=bytes(20), root_sha256=bytes(32), ca_sha256=bytes(32)
    )
    authority = Authority("golden.example", *make_ca("golden.example"))
    refused = (trust.TrustRefused,)

    def identity(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_private(Path(folder) / "identity" / "identity.json", b'{"school_id": "a"}')
            write_private(Path(folder) / "identity" / "chain.pem", data)
            load_identity(Path(folder))

    return (
        Target(name="root", run=trust.read_root, errors=refused, seeds=(root,)),
        Target(name="root-chain", run=lambda d: trust.check_root_chain([root, d], trust.sha256(root)),
               errors=refused, seeds=(root,)),
        Target(name="targets", run=lambda d: trust.read_targets(d, view), errors=refused, seeds=(targets,)),
        Target(name="groups", run=lambda d: trust.read_groups(d, parent), errors=refused, seeds=(groups,)),
        Target(name="expiry", run=trust.expiry_of, errors=refused, seeds=(targets,)),
        Target(name="token", run=lambda d: enrolment_token.parse(d.decode("utf-8", "replace")),
               errors=(enrolment_token.TokenTextError,), seeds=(token.text().encode(),)),
        Target(name="device-uri", run=lambda d: names.parse_device_uri(d.decode("utf-8", "replace")),
               errors=(names.NameRefused,), seeds=(names.device_uri("a", bytes(16)).encode(),)),
        Target(name="request", run=read_request, errors=(CertificateRefused,),
               seeds=(new_key().certificate_request(),)),
        Target(name="certificate", run=authority.read_der, errors=(CertificateRefused,), seeds=(authority.der,)),
        Target(name="handed-in-key", run=lambda d: _in_file(read_public, "x.json", d), errors=(KeyFileError,),
               seeds=(b'{"signing_key": "00", "sealing_key": "00"}',)),
        Target(name="passkey", run=_passkey, errors=(passkey.PasskeyError,),
               seeds=(made.added(bytes(32), bytes(32)).encode(),)),
        Target(name="key-file-ways", run=_ways, errors=(ways.WayError,),
               seeds=(json.dumps(ways.written([way])).encode(),)),
        Target(name="preseed", run=lambda d: _in_file(read_preseed, "enrol.toml", d), errors=(PreseedError,),
               seeds=(b'address = "c:1"\ntoken = "t"\n',)),
        Target(name="session-words", run=lines.read, errors=(lines.LineMistake,),
               seeds=(lines.write(lines.Words(title="a", text="b", number=1, ask="games")),
                      lines.write(lines.Reply(outcome=lines.Outcome.KEPT, text="kept")))),
        Target(name="session-peer", run=lines.read_peer, errors=(lines.LineMistake,),
               seeds=(lines.write_answer(lines.Answer(number=1, shown=True)), lines.write_ask(lines.AskLately()),
                      lines.write_ask(lines.Ask(rule_id="games", because=lines.Because.LESSON, words="é")))),
        Target(name="chain", run=identity, errors=(IdentityError,), seeds=(b"not-before-unix-ms: 1\n",)),
    )  # fmt: skip
