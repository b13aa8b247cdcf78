"""The short-lived process that verifies: python-tuf and X.509 live and die here.

Standard input brings one line of JSON, the request, then answers to what this process asks for on standard output
(``{"fetch": name}``): one status byte (D data, N not published, E unreachable), a length, the bytes. The last line on
standard output is the outcome. Nothing is put in force before everything is verified.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from schoolkeeper_agent import identity
from schoolkeeper_agent.trust import (
    FOLDER,
    KEPT_GROUP,
    RELEASE,
    Place,
    Trust,
    group_of,
    load_place,
    release_name,
    verify_set,
)
from schoolkeeper_proto import mandatory, moves, policy, rollout, trust
from schoolkeeper_proto.codec import WireFormatError, decode

_METADATA_URL = "tuf:/metadata/"
_TARGETS_URL = "tuf:/targets/"
_HELD_SETS = 2
_TAKEN = "taken.json"
_LAST_GROUP = "last-group"


class _Refusing(exceptions.DownloadError):
    """Our own rules refused a file before python-tuf saw it."""

    def __init__(self, refused: trust.TrustRefused) -> None:
        super().__init__(str(refused))
        self.refused = refused


class _ParentFetcher(FetcherInterface):
    """Asks the parent for files, and holds back roots and targets that break our own rules."""

    def __init__(self, metadata_dir: Path) -> None:
        self._metadata_dir = metadata_dir

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = unquote(url.removeprefix("tuf:/"))
        data = _ask(name)
        if data is None:
            raise exceptions.DownloadHTTPError(f"{name} is not published", 404)
        try:
            if name.endswith(".root.json"):
                trust.read_root(data)
            elif name.endswith(".targets.json"):
                trust.read_targets(data, trust.read_root((self._metadata_dir / "root.json").read_bytes()))
            elif name.startswith("metadata/"):
                trust.signed_part(data)
        except trust.TrustRefused as refused:
            raise _Refusing(refused) from refused
        yield data


class _Updater(Updater):
    """``root.json`` is a copy of the root in force, and no link: not every system lets everybody make one."""

    def _update_root_symlink(self) -> None:
        root = Path(self._dir)
        current = (root / "root_history" / f"{self._trusted_set.root.version}.root.json").read_bytes()
        identity.write_private(root / "root.json", current)


def main() -> int:
    request = json.loads(sys.stdin.buffer.readline())
    try:
        answer = _certificate(request) if request["work"] == "certificate" else _update(request)
    except _Refusing as error:
        answer = _refusal(error.refused.reason, error.refused)
    except trust.TrustRefused as error:
        answer = _refusal(error.reason, error)
    except exceptions.ExpiredMetadataError as error:
        answer = _refusal("expired", error)
    except exceptions.BadVersionNumberError as error:
        answer = _refusal("rollback", error)
    except exceptions.UnsignedMetadataError as error:
        answer = _refusal("signature", error)
    except (exceptions.LengthOrHashMismatchError, exceptions.DownloadLengthMismatchError) as error:
        answer = _refusal("altered", error)
    except exceptions.RepositoryError as error:
        answer = _refusal(_repository_reason(error), error)
    except exceptions.DownloadError as error:
        answer = _refusal("unreachable", error)
    except OSError as error:
        # This device's own disk or rights are to blame, not what the school published.
        answer = _refusal("local", error)
    except WireFormatError as error:
        # Of what was fetched: whoever can publish bytes that are no message must not choose a word nobody hears of.
        answer = _refusal("malformed", error)
    except (identity.IdentityError, ValueError, KeyError) as error:
        answer = _refusal("failed", error)
    _say(answer)
    return 0


def _update(request: dict[str, Any]) -> dict[str, Any]:
    state_dir = Path(request["state_dir"])
    folder = state_dir / FOLDER
    metadata, targets = folder / "metadata", folder / "targets"
    for path in (metadata, targets, folder / "sets"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = load_place(state_dir)
    bootstrap = _bootstrap(folder, place, request.get("first_root"))
    _forget_bad_roots(metadata)
    updater = _Updater(
        str(metadata),
        _METADATA_URL,
        str(targets),
        _TARGETS_URL,
        fetcher=_ParentFetcher(metadata),
        config=UpdaterConfig(
            root_max_length=trust.MAX_METADATA_BYTES, targets_max_length=trust.MAX_METADATA_BYTES
        ),
        bootstrap=bootstrap,
    )
    # The time that someone vouches for, not this machine's clock, decides what is expired.
    updater._trusted_set.reference_time = datetime.fromtimestamp(request["now_ms"] / 1000, tz=UTC)  # noqa: SLF001
    updater.refresh()
    keys = _target(updater, trust.KEYS_TARGET)
    group_map = _target(updater, trust.GROUPS_TARGET)
    wanted = group_of(decode(policy.GroupMap, group_map), place)
    files = {"keys": keys, "map": group_map}
    in_force = _in_force(folder, place)
    before = in_force.group if in_force else _last_group(folder) or place.group
    group = _group_to_be(updater, place, before, wanted, request["now_ms"])
    if group != wanted:
        files[KEPT_GROUP] = group.encode()
    name = trust.bundle_target(group)
    if updater.get_targetinfo(rollout.plan_target(group)) is not None:
        files["plan"] = _target(updater, rollout.plan_target(group))
        name = _chosen(updater, files["plan"], _held(folder, in_force, group), place, group)
    files["bundle"] = _target(updater, name)
    if updater.get_targetinfo(release_name()) is not None:
        files[RELEASE] = _target(updater, release_name())
    answer = _put_in_force(folder, place, files)
    if group != wanted:
        answer |= {"refused": moves.REFUSED, "message": moves.refusal(group, wanted)}
    return answer


def _group_to_be(updater: Updater, place: Place, before: str, wanted: str, now_ms: int) -> str:
    """``wanted``, if the officers let this device go there from ``before``; else where it is.

    Everything else that was signed is still taken: whoever orders a move that is refused must not keep the device
    from its own group's newer rules that way.
    """
    if wanted == before:
        return wanted
    listed = None
    if updater.get_targetinfo(trust.MOVES_TARGET) is not None:
        listed = decode(policy.GroupMoves, _target(updater, trust.MOVES_TARGET))
        moves.check_moves(listed, place.school_id)
    if moves.is_free(listed, before, wanted) or moves.is_signed(listed, place.device_id, wanted, now_ms):
        return wanted
    return before


def _chosen(
    updater: Updater, plan_bytes: bytes, held: tuple[bytes, int] | None, place: Place, group: str
) -> str:
    """The name of the bundle that this device takes in a rollout."""
    plan = decode(policy.RolloutPlan, plan_bytes)
    stage = None
    if updater.get_targetinfo(trust.STAGE_TARGET) is not None:
        stage = decode(policy.RolloutStage, _target(updater, trust.STAGE_TARGET))
        rollout.check_stage(stage, place.school_id)
    if rollout.choose(plan, stage, place.device_id, in_force=held) is rollout.Take.TO:
        return trust.bundle_target(group)
    return rollout.previous_target(group)


def _in_force(folder: Path, place: Place) -> Trust | None:
    """The verified set in force; None before the first, and for one that is damaged."""
    try:
        return verify_set(folder / "sets" / (folder / "current").read_text().strip(), place)
    except (OSError, ValueError, KeyError):
        return None


def _last_group(folder: Path) -> str:
    """The group of the last set that was put in force, for when that set is damaged; empty before the first."""
    try:
        return (folder / _LAST_GROUP).read_text()
    except (OSError, ValueError):
        return ""


def _held(folder: Path, in_force: Trust | None, group: str) -> tuple[bytes, int] | None:
    """Hash and version of the bundle in force, or of the last of this group that was; none before the first.

    The online key says which group a device is in: a way through another group must be no way back to an older policy.
    """
    if in_force is not None and in_force.group == group:
        return in_force.bundle_hash, in_force.bundle_version
    return _remembered(folder).get(group)


def _remembered(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Group -> hash and version of the last bundle of it that this device took; empty when that cannot be read."""
    try:
        said = json.loads((folder / _TAKEN).read_bytes())
        return {str(group): (bytes.fromhex(sha256), int(number)) for group, (sha256, number) in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(folder: Path, new: Trust) -> None:
    """Before it is in force: what is cut off between the two is taken at the next try."""
    known = _remembered(folder) | {new.group: (new.bundle_hash, new.bundle_version)}
    said = {group: [sha256.hex(), number] for group, (sha256, number) in known.items()}
    identity.write_private(folder / _TAKEN, json.dumps(said).encode())
    identity.write_private(folder / _LAST_GROUP, new.group.encode())


def _bootstrap(folder: Path, place: Place, first_root: str | None) -> bytes:
    """Root 1, which must be the one that the token pinned; kept from the enrolment on."""
    path = folder / "1.root.json"
    data = first_root.encode("latin-1") if first_root is not None else path.read_bytes()
    if trust.sha256(data) != place.root_sha256:
        raise trust.TrustRefused("wrong-school", "the first root metadata is not the one that the token pins")
    trust.read_root(data)
    if first_root is not None:
        identity.write_private(path, data)
    return data


def _forget_bad_roots(metadata: Path) -> None:
    """Cached roots are read by python-tuf alone: one that our rules refuse must not lie there."""
    for path in (metadata / "root_history").glob("*.root.json"):
        try:
            trust.read_root(path.read_bytes())
        except (trust.TrustRefused, OSError):
            path.unlink(missing_ok=True)


def _target(updater: Updater, name: str) -> bytes:
    info = updater.get_targetinfo(name)
    if info is None:
        raise trust.TrustRefused("no-target", f"the officers signed no {name!r}")
    path = updater.find_cached_target(info)
    if path is None:
        try:
            path = updater.download_target(info)
        except (exceptions.LengthOrHashMismatchError, exceptions.DownloadLengthMismatchError) as error:
            raise trust.TrustRefused(
                "altered-target", f"the file {name!r} differs from what the officers signed: {error}"
            ) from error
    return Path(path).read_bytes()


def _put_in_force(folder: Path, place: Place, files: dict[str, bytes]) -> dict[str, Any]:
    """Copies the verified set into a folder of its own, verifies that copy, and points ``current`` at it."""
    metadata = folder / "metadata"
    count = trust.read_root((metadata / "root.json").read_bytes()).version
    everything = dict(files)
    everything["root-version"] = str(count).encode()
    everything["1.root.json"] = (folder / "1.root.json").read_bytes()
    for number in range(2, count + 1):
        everything[f"{number}.root.json"] = (metadata / "root_history" / f"{number}.root.json").read_bytes()
    for name in ("timestamp", "targets", "groups"):
        everything[f"{name}.json"] = (metadata / f"{name}.json").read_bytes()
    digest = trust.sha256(b"".join(trust.sha256(everything[name]) for name in sorted(everything)))
    name = digest.hex()[:32]
    current = folder / "current"
    before = current.read_text().strip() if current.exists() else ""
    target = folder / "sets" / name
    if before == name:
        with contextlib.suppress(OSError, ValueError, KeyError):
            verify_set(target, place)
            return {"changed": False}
    building = folder / "sets" / f".{name}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        for file_name, data in everything.items():
            identity.write_private(building / file_name, data)
        new = verify_set(building, place)
        _check_not_older(new, folder / "sets" / before if before else None, place)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    _remember(folder, new)
    identity.write_private(current, name.encode())
    said = {
        "uplink": list(new.key_statement.uplink_addresses),
        "enrolment": list(new.key_statement.enrolment_addresses),
    }
    # Outside the set: where to ask for a new one when this one is damaged.
    identity.write_private(folder / "addresses.json", json.dumps(said).encode())
    authorities = b"".join(identity.pem_of(der) for der in new.key_statement.ca_certificates)
    identity.write_private(folder / Path(identity.AUTHORITIES).name, authorities)
    _forget_old(folder, keep={name, before})
    return {"changed": True}


def _check_not_older(new: Trust, held: Path | None, place: Place) -> None:
    """python-tuf's own cache may be lost; what is in force is a second memory of how far we were."""
    if held is None:
        return
    try:
        old = verify_set(held, place)
    except (OSError, ValueError, KeyError):
        return
    # A root that names other online keys begins their numbers anew (specification 5.3.11): a stolen key that signed
    # the largest number there is must not stop the school for ever.
    counted = bool(new.online_keys & old.online_keys)
    if (new.root_version, new.targets_version) < (old.root_version, old.targets_version) or (
        counted and new.timestamp_version < old.timestamp_version
    ):
        raise trust.TrustRefused("rollback", "the collector shows an older state than the one in force here")
    if (lacking := mandatory.missing_in(new.bundle)) and not mandatory.missing_in(old.bundle):
        raise trust.TrustRefused("mandatory-check", lacking)


def _forget_old(folder: Path, keep: set[str]) -> None:
    for path in (folder / "sets").iterdir():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
    cached = sorted(
        (p for p in (folder / "targets").iterdir() if p.is_file()), key=lambda p: p.stat().st_mtime
    )
    for path in cached[: -3 * _HELD_SETS]:
        path.unlink(missing_ok=True)


def _certificate(request: dict[str, Any]) -> dict[str, Any]:
    """Checks a renewed chain against what is pinned; returns its dates."""
    state_dir = Path(request["state_dir"])
    chain = tuple(bytes.fromhex(text) for text in request["chain"])
    held = identity.load_identity(state_dir)
    if held is None:
        raise identity.IdentityError("this device is not enrolled")
    identity.check_certificate(
        chain,
        held.signer,
        held.school_id,
        held.device_id,
        [bytes.fromhex(text) for text in request["authorities"]],
    )
    return {"dates": identity.certificate_dates(chain[0])}


def _repository_reason(error: exceptions.RepositoryError) -> str:
    text = str(error)
    return "altered" if "hash" in text or "length" in text else "refused"


def _refusal(reason: str, error: Exception) -> dict[str, Any]:
    return {"changed": False, "refused": reason, "message": str(error) or type(error).__name__}


def _ask(name: str) -> bytes | None:
    _say({"fetch": name})
    status = sys.stdin.buffer.read(1)
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    data = sys.stdin.buffer.read(length)
    if status == b"D":
        return data
    if status == b"N":
        return None
    if status == b"L":
        raise _Refusing(trust.TrustRefused("too-long", f"{name} is longer than any published file"))
    raise exceptions.DownloadError(f"{name} could not be fetched")


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    os.umask(0o077)
    raise SystemExit(main())
