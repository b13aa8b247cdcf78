"""What differs between two key statements and two roots, in words an officer can judge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from schoolkeeper_proto import policy, trust


def statement_changes(before: policy.KeyStatement | None, after: policy.KeyStatement) -> tuple[str, ...]:
    """One sentence per difference; keys by the first 16 digits of their id."""
    old = before or policy.KeyStatement(school_id="", school_name="", version=0, issued_unix_ms=0)
    found = []
    for what, was, now in (
        ("uplink addresses", old.uplink_addresses, after.uplink_addresses),
        ("enrolment addresses", old.enrolment_addresses, after.enrolment_addresses),
        ("school's name", old.school_name, after.school_name),
        ("name of the ledger", old.ledger_origin, after.ledger_origin),
    ):
        if was != now:
            found.append(f"{what}: {_said(was)} becomes {_said(now)}")
    for what, was_ids, now_ids in (
        ("certificate authority", _hashes(old.ca_certificates), _hashes(after.ca_certificates)),
        ("ingest key (devices seal reports to it)", _ids(old.ingest_keys), _ids(after.ingest_keys)),
        ("ledger key", _ids(old.ledger_keys), _ids(after.ledger_keys)),
        ("command key", _ids(old.command_keys), _ids(after.command_keys)),
    ):
        found += [f"{what} {one} is added" for one in now_ids if one not in was_ids]
        found += [f"{what} {one} is no longer listed" for one in was_ids if one not in now_ids]
    was_officers = {(o.officer_id, o.signing_key, o.sealing_key): o for o in old.officers}
    now_officers = {(o.officer_id, o.signing_key, o.sealing_key): o for o in after.officers}
    for key, officer in now_officers.items():
        if key not in was_officers:
            found.append(
                f"officer {officer.officer_id} ({', '.join(officer.duties)}) may sign and open from now on"
            )
        elif was_officers[key].duties != officer.duties:
            found.append(f"officer {officer.officer_id}: title {', '.join(officer.duties)}")
    found += [
        f"officer {o.officer_id} no longer may" for key, o in was_officers.items() if key not in now_officers
    ]
    return tuple(found)


def officer_changes(before: trust.RootView, after: trust.RootView) -> tuple[str, ...]:
    """Whose keys a new root takes out and lets in."""

    def people(root: trust.RootView) -> set[tuple[str, trust.Duty, bytes]]:
        return {(duty.officer, duty.duty, root.keys[key_id]) for key_id, duty in root.duties.items()}

    gone, come = people(before) - people(after), people(after) - people(before)
    return (
        *(
            f"officer {name} ({duty}) leaves: that key signs nothing any more"
            for name, duty, _ in sorted(gone)
        ),
        *(f"officer {name} ({duty}) comes, with key {key.hex()[:16]}" for name, duty, key in sorted(come)),
    )


def root_key_changes(before: trust.RootView, after: trust.RootView) -> tuple[str, ...]:
    """Root and online keys that differ between two roots."""
    found = []
    for role, what in (
        ("root", "root key"),
        ("timestamp", "online key"),
        ("snapshot", "online key (snapshot)"),
    ):
        was = {before.keys[k] for k in before.roles[role].key_ids}
        now = {after.keys[k] for k in after.roles[role].key_ids}
        found += [f"{what} {key.hex()[:16]} is added" for key in sorted(now - was)]
        found += [f"{what} {key.hex()[:16]} is removed" for key in sorted(was - now)]
    return tuple(found)


def _said(value: str | tuple[str, ...]) -> str:
    return (value if isinstance(value, str) else ", ".join(value)) or "none"


def _hashes(certificates: Iterable[bytes]) -> list[str]:
    return [hashlib.sha256(der).hexdigest()[:16] for der in certificates]


def _ids(keys: Iterable[policy.IngestKey] | Iterable[policy.VerificationKey]) -> list[str]:
    return [key.key_id.hex()[:16] for key in keys]
