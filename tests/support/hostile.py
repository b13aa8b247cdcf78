"""A collector that is the attacker's, and a device that meets it.

The collector has its own online key and whatever some officers signed, and serves what it likes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.trust import Place, Trust, TrustUpdate, load_trust, save_place, update_trust
from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.repository import NotPublished, Repository
from schoolkeeper_policies.officer.keyfile import OfficerKeys, load_keys
from schoolkeeper_policies.officer.signing import sign_metadata
from schoolkeeper_proto import trust
from support.school import GROUP, School

DEVICE = bytes(range(16))


@dataclass
class HostileCollector:
    """A school whose collector publishes without checking anything."""

    school: School
    served: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    versions: tuple[int, int, int] = (1, 1, 1)
    """Of targets, snapshot and timestamp, as last published."""

    @property
    def repository(self) -> Repository:
        return self.school.repository

    def officer(self, name: str) -> OfficerKeys:
        return load_keys(self.school.folder / "offline" / name / f"{name}.key", None)

    async def fetch(self, name: str) -> bytes | None:
        if self.down:
            raise ConnectionError("the cable is out")
        if name in self.served:
            return self.served[name]
        try:
            return self.repository.read_file(name)
        except NotPublished:
            return None

    def files(self) -> dict[str, bytes]:
        view = trust.unchecked_targets(self.repository.read_file(f"metadata/{self.versions[0]}.targets.json"))
        return {
            name: self.repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
            for name, entry in view.targets.items()
        }

    def publish(self, *officers: str, **changed: bytes) -> None:
        """The next targets, signed by these officers, sealed by the collector's online key."""
        version = self.versions[0] + 1
        files = self.files() | {name.replace("__", "/"): data for name, data in changed.items()}
        data = roots.make_targets(
            version=version,
            files=files,
            online_key=self.school.keys.online.public_key().public_bytes_raw(),
            now_ms=self.school.made_ms,
        )
        for name in officers:
            data = sign_metadata(data, self.officer(name), None)
        for name, content in files.items():
            path = self.folder / "targets" / trust.target_file_name(name, trust.sha256(content).hex())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (self.folder / "metadata" / f"{version}.targets.json").write_bytes(data)
        self.seal(version, {"targets": data, "groups": self.repository.read_file("metadata/1.groups.json")})

    def seal(self, targets_version: int, parts: dict[str, bytes]) -> None:
        online, now_ms = self.school.keys.online, self.school.made_ms
        parts = {"rollout": self.repository.read_file("metadata/1.rollout.json")} | parts
        _, snapshot_version, timestamp_version = self.versions
        self.versions = (targets_version, snapshot_version + 1, timestamp_version + 1)
        snapshot = roots.make_snapshot(version=self.versions[1], parts=parts, online=online, now_ms=now_ms)
        stamp = roots.make_timestamp(
            version=self.versions[2], snapshot=snapshot, online=online, now_ms=now_ms
        )
        (self.folder / "metadata" / f"{self.versions[1]}.snapshot.json").write_bytes(snapshot)
        (self.folder / "metadata" / "timestamp.json").write_bytes(stamp)

    @property
    def folder(self) -> Path:
        return self.school.folder / "trust"

    def new_bundle(self, group: str = GROUP) -> bytes:
        return compile_bundle(
            "default", self.school.keys, group=group, version=2, now_ms=self.school.made_ms + 1
        )

    def next_root(self, *signers: str, change: object = None) -> None:
        """Root 2: the first with ``change(signed)`` applied, signed by these root keys."""
        document = json.loads(self.repository.root_chain()[0])
        document["signed"]["version"] = 2
        document["signatures"] = []
        if callable(change):
            change(document["signed"])
        data = json.dumps(document).encode()
        for name in signers:
            data = sign_metadata(data, self.officer(name), None)
        (self.school.folder / "trust" / "metadata" / "2.root.json").write_bytes(data)


@dataclass
class Laptop:
    state_dir: Path
    collector: HostileCollector
    later_ms: int = 0

    def update(self, first_root: bytes | None = None) -> TrustUpdate:
        now_ms = self.collector.school.made_ms + 1000 + self.later_ms
        return asyncio.run(
            update_trust(self.state_dir, self.collector.fetch, now_ms=now_ms, first_root=first_root)
        )

    def in_force(self) -> Trust:
        found = load_trust(self.state_dir)
        assert found is not None
        return found

    def refuses(self, reason: str) -> str:
        """An update is refused for this reason, and what is in force is what was in force."""
        before = self.in_force()
        update = self.update()
        assert (update.changed, update.refused) == (False, reason), update
        assert self.in_force() == before
        return update.message


def hostile_copy(template: School, folder: Path) -> HostileCollector:
    """A school of its own for one test, from one that was made before."""
    shutil.copytree(template.folder, folder)
    copy = object.__new__(School)
    copy.__dict__.update(template.__dict__)
    copy.folder = folder
    copy.repository = Repository(folder)
    return HostileCollector(copy)


def enrolled_laptop(collector: HostileCollector, state_dir: Path) -> Laptop:
    first = collector.repository.root_chain()[0]
    save_place(
        state_dir,
        Place(
            school_id=collector.school.school_id,
            device_id=DEVICE,
            group=GROUP,
            root_sha256=trust.sha256(first),
        ),
    )
    made = Laptop(state_dir, collector)
    assert made.update(first).changed
    return made
