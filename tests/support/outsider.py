"""An attacker's kit: a copy of everything a school publishes, to be rewritten, and a real device that reads the copy.

Nothing here is taken from the code that defends: documents are signed as The Update Framework's specification says,
with the canonical form of securesystemslib, by whichever private keys the attacker is said to hold.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.formats import encode_canonical

from schoolkeeper_agent.trust import Place, Trust, TrustUpdate, load_trust, save_place, update_trust
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_policies.officer import signing
from schoolkeeper_proto import trust
from support.school import GROUP, School, wall_ms

DEVICE = bytes(range(0x40, 0x50))
Document = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def key_object(key: Ed25519PrivateKey) -> Document:
    """A key as the specification writes it (4.2)."""
    public = key.public_key().public_bytes_raw().hex()
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}


def key_id(key: Ed25519PrivateKey) -> str:
    return sha256(str(encode_canonical(key_object(key))).encode())


def signature(signed: Document, key: Ed25519PrivateKey, under: str | None = None) -> dict[str, str]:
    """``under``: the key id that the signature claims, else the right one."""
    made = key.sign(str(encode_canonical(signed)).encode()).hex()
    return {"keyid": under or key_id(key), "sig": made}


def document(signed: Document, *keys: Ed25519PrivateKey) -> bytes:
    return json.dumps({"signatures": [signature(signed, key) for key in keys], "signed": signed}).encode()


@dataclass
class Mirror:
    """Every published file by name. ``evil`` is what must never be found on the device."""

    files: dict[str, bytes]
    evil: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, repository_folder: Path) -> Mirror:
        found = {}
        for part in ("metadata", "targets"):
            folder = repository_folder / "trust" / part
            for path in folder.rglob("*"):
                if path.is_file() and not path.name.startswith("."):
                    found[str(path.relative_to(repository_folder / "trust"))] = path.read_bytes()
        return cls(found)

    async def fetch(self, name: str) -> bytes | None:
        self.asked.append(name)
        return self.files.get(name)

    # ---- reading ----

    def read(self, name: str) -> Document:
        made: Document = json.loads(self.files[name])
        return made

    def newest(self, role: str) -> str:
        """The file name of the newest version of a role's metadata."""
        if role == "timestamp":
            return "metadata/timestamp.json"
        versions = [
            int(name.split("/")[1].split(".")[0]) for name in self.files if name.endswith(f".{role}.json")
        ]
        return f"metadata/{max(versions)}.{role}.json"

    def signed(self, role: str) -> Document:
        """The newest signed part of a role, a copy."""
        part: Document = self.read(self.newest(role))["signed"]
        return part

    def file_of(self, target: str, role: str = "targets") -> str:
        """Where the file of a target lies."""
        digest = self.signed(role)["targets"][target]["hashes"]["sha256"]
        return f"targets/{trust.target_file_name(target, digest)}"

    # ---- writing ----

    def put(self, name: str, data: bytes, *, evil: bool = True) -> None:
        self.files[name] = data
        if evil:
            self.evil.append(data)

    def put_target(self, target: str, data: bytes) -> Document:
        """The file of a target that the attacker made; returns what metadata says of it."""
        self.put(f"targets/{trust.target_file_name(target, sha256(data))}", data)
        return {"length": len(data), "hashes": {"sha256": sha256(data)}}

    def stamp(self, online: Ed25519PrivateKey, *, snapshot: str = "", **fields: Any) -> None:
        """A timestamp of the attacker's over a snapshot file (the newest unless named), version one more."""
        name = snapshot or self.newest("snapshot")
        data = self.files[name]
        signed = self.signed("timestamp")
        signed["version"] += 1
        signed["meta"]["snapshot.json"] = {
            "version": int(name.split("/")[1].split(".")[0]),
            "length": len(data),
            "hashes": {"sha256": sha256(data)},
        }
        signed |= fields
        self.put("metadata/timestamp.json", document(signed, online), evil=False)

    def snap(
        self,
        online: Ed25519PrivateKey,
        change: Callable[[Document], None] = lambda meta: None,
        **fields: object,
    ) -> str:
        """A snapshot of the attacker's: the newest of each role, changed by ``change``; returns its file name."""
        signed = self.signed("snapshot")
        signed["version"] += 1
        for role_file, entry in signed["meta"].items():
            name = self.newest(role_file.removesuffix(".json"))
            data = self.files[name]
            entry |= {
                "version": int(name.split("/")[1].split(".")[0]),
                "length": len(data),
                "hashes": {"sha256": sha256(data)},
            }
        change(signed["meta"])
        signed |= fields
        name = f"metadata/{signed['version']}.snapshot.json"
        self.put(name, document(signed, online))
        return name

    def seal(self, online: Ed25519PrivateKey) -> None:
        """Snapshot and timestamp over everything that is newest, in order."""
        name = self.snap(online)
        self.evil.remove(self.files[name])
        self.stamp(online)


@dataclass
class Scene:
    """A school, its mirror in the attacker's hands, and a device that took the school's policy before."""

    school: School
    state_dir: Path
    mirror: Mirror
    group: str = GROUP
    signing: tuple[str, str] = ("technician", "dsl")
    """Who signs for the school."""

    @property
    def online(self) -> Ed25519PrivateKey:
        return self.school.keys.online

    def officer(self, name: str) -> Ed25519PrivateKey:
        return self.school.officer(name).signing

    def root_key(self, number: int) -> Ed25519PrivateKey:
        return self.school.officer(f"root-{number}").signing

    def enrol(self) -> None:
        first = self.school.repository.root_chain()[0]
        place = Place(
            school_id=self.school.school_id,
            device_id=DEVICE,
            group=self.group,
            root_sha256=trust.sha256(first),
        )
        save_place(self.state_dir, place)
        update = self.update(first_root=first)
        assert update.changed, update

    def update(
        self,
        fetch: Callable[[str], Awaitable[bytes | None]] | None = None,
        *,
        now_ms: int = 0,
        first_root: bytes | None = None,
    ) -> TrustUpdate:
        return asyncio.run(
            update_trust(
                self.state_dir,
                fetch or self.mirror.fetch,
                now_ms=now_ms or wall_ms() + 1000,
                first_root=first_root,
            )
        )

    def in_force(self) -> Trust:
        found = load_trust(self.state_dir)
        assert found is not None
        return found

    def publish(self, *officers: str, group: str = "", new_root: bytes | None = None) -> None:
        """An honest publication: the group's bundle, one version on."""
        school, group = self.school, group or self.group
        version = school.repository.current().bundles[group][1] + 1
        bundle = compile_bundle("default", school.keys, group=group, version=version, now_ms=wall_ms())
        folder = staging.stage(
            school.folder, school.keys, {trust.bundle_target(group): bundle}, wall_ms(), new_root=new_root
        )
        for name in officers or self.signing:
            signing.sign_staged(folder, school.officer(name))
        staging.publish_staged(school.folder, school.keys, wall_ms())

    def honest(self) -> None:
        """The mirror shows what the school published, again."""
        self.mirror.files = Mirror.of(self.school.folder).files
        self.mirror.asked.clear()

    def recovers(self) -> None:
        """The school publishes once more, past whatever versions its online key was misused for: it is applied."""
        before = self.in_force().bundle_version
        for _ in range(4):
            self.school.repository.refresh(self.online, wall_ms(), force=True)
        self.publish()
        self.honest()
        update = self.update()
        assert (update.changed, update.refused) == (True, ""), update
        assert self.in_force().bundle_version > before

    def contents(self) -> dict[str, bytes]:
        """Every file that this device holds."""
        return {str(p.relative_to(self.state_dir)): p.read_bytes() for p in _files(self.state_dir)}

    def in_force_name(self) -> str:
        return (self.state_dir / "trust" / "current").read_text().strip()

    def in_force_bytes(self) -> dict[str, bytes]:
        """The files of the set in force, and the pointer to it."""
        folder = self.state_dir / "trust"
        name = self.in_force_name()
        held = {p.name: p.read_bytes() for p in _files(folder / "sets" / name)}
        return held | {"current": name.encode()}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def copy_of(template: Scene, folder: Path) -> Scene:
    """A school and a device of their own for one test."""
    shutil.copytree(template.school.folder, folder / "collector")
    shutil.copytree(template.state_dir, folder / "device")
    school = object.__new__(School)
    school.__dict__.update(template.school.__dict__)
    school.folder, school.repository = folder / "collector", Repository(folder / "collector")
    return Scene(school, folder / "device", Mirror.of(school.folder), template.group)
