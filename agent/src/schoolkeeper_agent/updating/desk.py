"""The service's side of an update: fetches the signed package, hands it to the keeper, tells what came of it.

The package's hash and length are in what the officers signed, verified from the pinned root when the set was taken.
Nothing of a package is used before its last byte was compared. Installing is ``keeper.py``'s, outside of this service.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.identity import write_private
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.updating import keeper
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.release import package_name

BYTES_PER_S = 1 << 20
"""A laptop's line is there for lessons first."""
ROOM = 64 << 20
"""What stays free on the disk, besides the package: the spool's need goes before."""
SILENT_S = 60.0
KEEPER = "keeper.py"
_LOOK_S, _ENDS_S = 2.0, 1_800.0
_log = logging.getLogger(__name__)


class NotFetched(Exception):
    """``altered``: not for want of a network or of room; the school hears of it. Tried again later all the same."""

    def __init__(self, because: str, *, altered: bool = False) -> None:
        super().__init__(because)
        self.altered = altered


@dataclass(slots=True)
class UpdatingDesk:
    """``folder``: for everything of updates; ``version``: of the package that runs."""

    parts: Parts
    follower: Follower
    folder: Path
    version: str

    async def look(self) -> bool:
        """Does what there is to do; True: it could not be done now and is to be tried again later."""
        await self._report()
        if not await self._is_told():
            return True
        found = self.parts.trust.release
        if found is None or found.version == self.version or not await self._is_newer(found):
            return False
        if found.package_sha256.hex() in self._read(keeper.FAILED).get("sha256", ()):
            return False
        if not await self._handed_over(found):
            return True
        if not await self._is_told():
            return True
        # Put off by this device itself, for want of room perhaps: else this agent would not be here, or not try again.
        return found.package_sha256.hex() not in self._read(keeper.FAILED).get("sha256", ())

    # ---- after an installation -----------------------------------------------------------------------

    async def _report(self) -> None:
        """The keeper waits until the school acknowledged an event of the new agent's own: that is its report."""
        state = self._read(keeper.STATE)
        if not state:
            return
        if state.get("to") == self.version and not self._note(keeper.REPORTED):
            write_private(self.folder / keeper.STARTED, self.version.encode())
            came = model.AgentUpdate(
                state="installed",
                from_version=str(state.get("from", "")),
                to_version=self.version,
                package_sha256=_hash(state),
            )
            place = None
            while place is None:
                place = await self.follower.keep(came, model.Severity.INFORMATIONAL)
            while not await self.follower.is_delivered(place, SILENT_S, _LOOK_S):
                if not (self.folder / keeper.STATE).exists():
                    return
            write_private(self.folder / keeper.REPORTED, self.version.encode())

    async def _is_told(self) -> bool:
        """Waits until the keeper is done, which mostly ends this service, and tells what came of it. False: not yet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_S):
                while self._is_under_way():  # noqa: ASYNC110 - the keeper's files
                    await asyncio.sleep(_LOOK_S)
        return not self._is_under_way() and await self._tell_outcome()

    def _is_under_way(self) -> bool:
        return any((self.folder / name).exists() for name in (keeper.WANTED, keeper.STATE))

    async def _tell_outcome(self) -> bool:
        """Whether nothing is left to tell."""
        if not (self.folder / keeper.OUTCOME).exists():
            return True
        said = self._read(keeper.OUTCOME)
        came = model.AgentUpdate(
            state=str(said.get("state", "refused")),
            from_version=str(said.get("from", "")),
            to_version=str(said.get("to", "")),
            package_sha256=_hash(said),
            detail=str(said.get("why", ""))[:300],
        )
        bad = came.state not in ("succeeded", "put-off")
        severity = model.Severity.HIGH if bad else model.Severity.INFORMATIONAL
        if await self.follower.keep(came, severity) is None:
            return False
        (self.folder / keeper.OUTCOME).unlink(missing_ok=True)
        return True

    # ---- before one -------------------------------------------------------------------------------------

    async def _handed_over(self, found: policy.AgentRelease) -> bool:
        try:
            await self._fetch(found)
        except NotFetched as error:
            _log.warning("the agent %s was not fetched: %s", found.version, error)
            if error.altered:
                await self.follower.keep(self._step(found, "refused", str(error)), model.Severity.HIGH)
            return False
        except OSError as error:
            _log.warning("the agent %s was not fetched: %s", found.version, error)
            return False
        started = self._step(found, "started", "")
        if await self.follower.keep(started, model.Severity.INFORMATIONAL) is None:
            return False
        # The copy of this version, which works, watches over the next one.
        write_private(self.folder / KEEPER, _keepers_source())
        wanted = {"version": found.version, "sha256": found.package_sha256.hex()}
        write_private(self.folder / keeper.WANTED, json.dumps(wanted).encode())
        return True

    def _step(self, found: policy.AgentRelease, state: str, detail: str) -> model.AgentUpdate:
        return model.AgentUpdate(
            state=state,
            from_version=self.version,
            to_version=found.version,
            package_sha256=found.package_sha256,
            detail=detail[:300],
        )

    async def _fetch(self, found: policy.AgentRelease) -> None:
        """Whole and compared, under the name that the keeper looks for. What was cut off goes on where it ended."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        part = self.folder / f"{found.package_sha256.hex()}.part"
        for other in self.folder.glob("*.part"):
            if other != part:
                other.unlink()
        held = part.stat().st_size if part.exists() else 0
        if held > found.package_length:
            part.unlink()
            held = 0
        if shutil.disk_usage(self.folder).free < found.package_length - held + ROOM:
            part.unlink(missing_ok=True)
            raise NotFetched("the disk has no room for the package")
        if held < found.package_length:
            await self._receive(found, part, held)
        if await asyncio.to_thread(_sha256, part) != found.package_sha256:
            part.unlink()
            raise NotFetched("what the server gave is not the package that the officers signed", altered=True)
        part.replace(self.folder / keeper.NEW)

    async def _receive(self, found: policy.AgentRelease, part: Path, held: int) -> None:
        """Appends what the server gives, gently."""
        from schoolkeeper_agent.net import fetch_package

        channel = self.parts.transport.channel
        if channel is None:
            raise NotFetched("there is no connection")
        loop = asyncio.get_running_loop()
        began, first = loop.time(), held
        chunks = fetch_package(channel, package_name(found), held)
        try:
            while held < found.package_length:
                async with asyncio.timeout(SILENT_S):
                    data = await anext(chunks, b"")
                if not data:
                    raise NotFetched("the server gave only a part of it")
                held += len(data)
                if held > found.package_length:
                    _drop(part)
                    raise NotFetched(
                        "the server gave more than the package that the officers signed", altered=True
                    )
                _append(part, data)
                await asyncio.sleep(max(0.0, (held - first) / BYTES_PER_S - (loop.time() - began)))
        except TimeoutError as error:
            raise NotFetched("the server fell silent") from error
        except OSError:
            _drop(part)  # a full disk is given back at once
            raise
        except NotFetched:
            raise
        except Exception as error:  # whatever gRPC raises
            raise NotFetched(_words(error)) from error
        finally:
            await chunks.aclose()

    async def _is_newer(self, found: policy.AgentRelease) -> bool:
        command = ("dpkg", "--compare-versions", found.version, "gt", self.version)
        try:
            process = await asyncio.create_subprocess_exec(*command)
        except OSError:
            return False
        return await process.wait() == 0

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _note(self, name: str) -> str:
        try:
            return (self.folder / name).read_text().strip()
        except (OSError, ValueError):
            return ""


def _words(error: Exception) -> str:
    """One line: what the server said, where gRPC has its words, and not how gRPC prints itself."""
    details = getattr(error, "details", None)
    said = details() if callable(details) else ""
    return " ".join(str(said or f"{type(error).__name__}: {error}").split())[:300]


def _keepers_source() -> bytes:
    return Path(keeper.__file__).read_bytes()


def _append(part: Path, data: bytes) -> None:
    with part.open("ab") as file:
        file.write(data)


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)


def _hash(said: dict[str, Any]) -> bytes:
    try:
        return bytes.fromhex(str(said.get("sha256", "")))
    except ValueError:
        return b""


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
