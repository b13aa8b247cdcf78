"""Hands a package to a device in chunks, from where it left off; few at a time, since the line is the school's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from schoolkeeper_collector.ingest.stream import Context
from schoolkeeper_collector.school.repository import NotPublished
from schoolkeeper_collector.updates.gate import Gate
from schoolkeeper_collector.updates.packages import Halted, Packages
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.release import PACKAGES

AT_ONCE = 8
_CHUNK = 1 << 16


@dataclass(slots=True)
class Handing:
    """All methods are called on one event loop, by devices whose certificate was checked."""

    packages: Packages
    gate: Gate
    _now: int = field(default=0, init=False)

    async def hand(self, name: str, offset: int, context: Context, now_ms: int) -> None:
        if self._now >= AT_ONCE:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many devices fetch a package now: later"
            )
        self._now += 1
        try:
            path = await asyncio.to_thread(self._looked, name, now_ms)
        except NotPublished as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except Halted as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        else:
            while data := await asyncio.to_thread(_read, path, offset):
                await context.write(encode(wire.FetchChunk(data=data)))
                offset += len(data)
        finally:
            self._now -= 1

    def _looked(self, name: str, now_ms: int) -> Path:
        path = self.packages.path_of(name)
        self.gate.look(bytes.fromhex(path.name), now_ms)
        return self.packages.path_of(name)


def is_package(name: str) -> bool:
    return name.startswith(PACKAGES)


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_CHUNK)
