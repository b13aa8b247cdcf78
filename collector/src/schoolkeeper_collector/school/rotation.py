"""Working keys that change: the next one is made beside the one in use, listed by the officers, then switched to.

Online key: the root names it, so publication itself is the switch. Ledger key and certificate authority: devices must
know the next one before it is used, so there are three steps: *list* both (officers sign), *switch* when the devices
have that statement, *retire* the old one (officers sign). What was signed with an old ledger key stays verifiable: its
public key is kept for good, its private key is not.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_collector.school.keys import KeysError, ServiceKeys, load_keys, write_tls
from schoolkeeper_collector.school.repository import Repository, RepositoryError
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode

ONLINE, LEDGER, CA = "online", "ledger", "ca"


def next_signing_key(state_dir: Path, name: str) -> Ed25519PrivateKey:
    """The next key of this name, made once; asked for again it is the same until it is switched to."""
    path = SchoolPaths(state_dir).keys / f"{name}-next.key"
    if not path.exists():
        write_file(path, Ed25519PrivateKey.generate().private_bytes_raw(), private=True)
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def next_authority(state_dir: Path, school_id: str) -> x509.Certificate:
    folder = SchoolPaths(state_dir).keys
    if not (folder / "ca-next.pem").exists():
        key, certificate = certificates.make_ca(school_id)
        write_file(folder / "ca-next.key", certificates.key_pem(key), private=True)
        write_file(folder / "ca-next.pem", certificates.pem(certificate))
    return x509.load_pem_x509_certificate((folder / "ca-next.pem").read_bytes())


def online_key_for(state_dir: Path, keys: ServiceKeys, root: trust.RootView) -> Ed25519PrivateKey:
    """The private key that this root names as the online one. Raises ``KeysError``."""
    named = {root.keys[key_id] for key_id in root.roles["timestamp"].key_ids}
    path = SchoolPaths(state_dir).keys / "online-next.key"
    candidates = [keys.online]
    if path.exists():
        candidates.append(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
    for key in candidates:
        if key.public_key().public_bytes_raw() in named:
            return key
    raise KeysError(
        "the root names another online key than this collector holds: restore keys/ from the backup"
    )


def settle_online_key(state_dir: Path) -> bool:
    """After a publication whose root names the next online key: it takes the old one's place. Safe to repeat."""
    folder = SchoolPaths(state_dir).keys
    path = folder / "online-next.key"
    if not path.exists():
        return False
    root = trust.read_root(Repository(state_dir).root_chain()[-1])
    raw = path.read_bytes()
    public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    if public not in {root.keys[key_id] for key_id in root.roles["timestamp"].key_ids}:
        return False
    write_file(folder / "online.key", raw, private=True)
    path.unlink()
    return True


def switch(state_dir: Path, what: str) -> None:
    """Takes the next ledger key or authority into use. Raises ``RepositoryError`` before the officers listed it."""
    held = decode(policy.KeyStatement, Repository(state_dir).current().key_statement)
    if what == LEDGER:
        _switch_ledger(state_dir, held)
    else:
        _switch_authority(state_dir, held)


def _switch_ledger(state_dir: Path, held: policy.KeyStatement) -> None:
    folder = SchoolPaths(state_dir).keys
    path = folder / "ledger-next.key"
    _listed(path.exists(), "ledger")
    raw = path.read_bytes()
    public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    _listed(public in {key.public_key for key in held.ledger_keys}, "ledger")
    old = load_keys(state_dir).ledger.public_key().public_bytes_raw()
    write_file(folder / "ledger-retired" / f"{old.hex()}.pub", old)
    write_file(folder / "ledger.key", raw, private=True)
    path.unlink()


def _switch_authority(state_dir: Path, held: policy.KeyStatement) -> None:
    folder = SchoolPaths(state_dir).keys
    path = folder / "ca-next.pem"
    _listed(path.exists(), "ca")
    new = x509.load_pem_x509_certificate(path.read_bytes())
    _listed(certificates.der(new) in held.ca_certificates, "ca")
    keys = load_keys(state_dir)
    old = certificates.der(keys.ca_certificate)
    if old != certificates.der(new):
        write_file(
            folder / "ca-retired" / f"{trust.sha256(old).hex()}.pem", certificates.pem(keys.ca_certificate)
        )
    # The key before the certificate, and ca-next last: cut off anywhere, running it again finishes it.
    write_file(folder / "ca.key", (folder / "ca-next.key").read_bytes(), private=True)
    write_file(folder / "ca.pem", certificates.pem(new))
    keys = load_keys(state_dir)
    hosts = [a.rsplit(":", 1)[0].strip("[]") for a in (*held.uplink_addresses, *held.enrolment_addresses)]
    write_tls(state_dir, keys.ca_key, keys.ca_certificate, tuple(dict.fromkeys(hosts)))
    (folder / "ca-next.key").unlink()
    path.unlink()


def _listed(good: bool, what: str) -> None:
    if not good:
        option = "--new-ca" if what == CA else "--new-ledger-key"
        raise RepositoryError(
            f"no next key that officers listed: `schoolkeeper-collector stage-keys {option}`, "
            "have it signed and published, wait until the devices have it, then switch"
        )
