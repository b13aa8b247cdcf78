"""The responder's loop: the kernel's questions first, then the mount table, then the service."""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import struct
import time

from schoolkeeper_agent.enforcers.linux.exec_responder import mounts, places
from schoolkeeper_agent.enforcers.linux.exec_responder.fanotify import Group
from schoolkeeper_agent.enforcers.linux.exec_responder.judge import Judge, TooSlow, real_user_of
from schoolkeeper_agent.enforcers.linux.exec_responder.origin import Origin
from schoolkeeper_agent.enforcers.linux.exec_responder.process import be_preferred, libc, lock_memory
from schoolkeeper_agent.enforcers.linux.exec_responder.reports import Reports
from schoolkeeper_agent.enforcers.linux.exec_responder.root_only import RootOnly
from schoolkeeper_agent.enforcers.linux.exec_responder.settled import SHOWS_WRITES, Settled
from schoolkeeper_proto.matching import ApplicationTable, TableMistake

BEAT_MS = 1000
"""How often the loop comes round when nothing happens."""
BEAT = struct.Struct("=QQ")
"""Two times of the monotonic clock in ns, in the page shared with the guardian: came round; decision began (or 0)."""
MAX_ALLOWED = 8192
UNSAID = ".unsaid"
"""After the table file's name: how many judgements had nobody to go to, since the service was gone."""
MAX_TABLE_BYTES = 16 << 20


Key = tuple[str, int, int, int, int, int]
"""Path, device, inode, mtime, size, ctime."""


class Stop(Exception):
    """SIGTERM: close and let the kernel allow."""


class Responder:
    """One group of marks and one table at a time."""

    def __init__(self, config: dict[str, object], page: mmap.mmap) -> None:
        self._table_file = str(config["table_file"])
        only = config["mounts"]
        self._only = None if only is None else tuple(str(point) for point in only)  # type: ignore[attr-defined]
        self._limit_ms = int(str(config["decide_ms"]))
        self._alone_ns = int(float(str(config["orphan_s"])) * 1e9)
        self._alone_since = 0
        self._page = page
        self._library = libc()
        self._reports = Reports(int(str(config["socket"])))
        self._root_only = RootOnly()
        self._marked: dict[str, str] = {}
        self._unmarked: set[str] = set()
        self._allowed: set[Key] = set()
        self._settled = Settled()
        self._origin = Origin()
        self._table_of_mounts = ""
        self._judge = self._load(None)
        self._group = Group(self._library)

    def run(self) -> None:
        """Until SIGTERM."""
        self._beat()  # before the first mark: from then on the guardian must be able to tell
        with open("/proc/self/mountinfo", "rb", buffering=0) as table:  # noqa: PTH123
            self._mark(table.fileno())
            gc.collect()
            gc.freeze()
            be_preferred()
            locked = lock_memory(self._library)
            self._reports.say("up", mounts=list(self._marked.values()), locked=locked)
            poll = select.poll()
            poll.register(self._group.fd, select.POLLIN)
            poll.register(table.fileno(), select.POLLPRI | select.POLLERR)
            poll.register(self._reports.fileno(), select.POLLIN)
            while True:
                self._beat()
                ready = poll.poll(BEAT_MS)
                self._serve(ready, table.fileno(), poll)
                if self._alone_since and time.monotonic_ns() - self._alone_since > self._alone_ns:
                    raise Stop  # no service took over: nobody would hear of new rules

    def leave(self) -> None:
        """After the last answer: what was judged and could be said to nobody is left behind as a figure."""
        os.close(self._group.fd)
        self._reports.retry()
        if self._reports.dropped:
            try:
                with open(self._table_file + UNSAID, "w") as file:  # noqa: PTH123 - pathlib costs memory here
                    file.write(str(self._reports.dropped))
            except OSError:
                return  # the service's folder is gone, and the service with it

    def _serve(self, ready: list[tuple[int, int]], mount_table: int, poll: select.poll) -> None:
        descriptors = [descriptor for descriptor, _ in ready]
        if self._group.fd in descriptors:
            for file, process_id in self._group.read():
                self._decide(file, process_id)
            if len(descriptors) == 1:
                return
        if mount_table in descriptors:
            self._mark(mount_table)
        if self._reports.fileno() in descriptors:
            if self._reports.heard() == b"table":
                self._swap()
            if not self._reports.open:
                poll.unregister(self._reports.fileno())
                self._alone_since = time.monotonic_ns()
        if not ready:
            self._reports.retry()

    def _beat(self, busy_ns: int = 0) -> None:
        BEAT.pack_into(self._page, 0, time.monotonic_ns(), busy_ns)

    def _decide(self, file: int, process_id: int) -> None:
        self._beat(time.monotonic_ns())
        allow = True
        try:
            allow = self._answer(file, process_id)
        except Stop:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: the machine stays usable, and it is said
            self._reports.say("error", error=repr(error))
        finally:
            self._group.answer(file, allow=allow)
            os.close(file)

    def _answer(self, file: int, process_id: int) -> bool:
        path = os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115
        found = os.fstat(file)
        key = (path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns)
        if key in self._allowed:
            return True
        judge = self._judge
        here = places.leads_to(path, found)
        if not here:
            path = places.true_path(file, path, found, process_id, self._table_of_mounts)
        user_id = real_user_of(process_id) if judge.needs_user(path, found) else -1
        digest = reason = ""
        try:
            verdict, digest = judge.decide(file, path, found, user_id)
        except TooSlow:
            verdict = judge.decide_without_hash(path, found, user_id)
            reason = "too-slow"
        root_only = here and (verdict.steady or bool(reason)) and self._root_only.holds(path, found)
        refuse = verdict.refuses or (bool(reason) and not root_only)
        if verdict.decision == "allow" and not reason:
            if here and verdict.steady and not (root_only and self._group.ignore(file)):
                self._remember(key, file, found)
            return True
        self._reports.say(
            "judged", path=path, decision="block" if refuse and not verdict.refuses else verdict.decision,
            asked=verdict.asked if not reason or verdict.refuses else "block", rule=verdict.rule_id, reason=reason,
            pid=process_id, uid=user_id if user_id >= 0 else real_user_of(process_id), sha256=digest,
        )  # fmt: skip
        return not refuse

    def _remember(self, key: Key, file: int, found: os.stat_result) -> None:
        """A steady allow of a file that people can change: asked again, answered without thought while unchanged."""
        if not self._judge.table.needs_sha256 or self._settled.holds(file, found):
            if len(self._allowed) >= MAX_ALLOWED:
                self._allowed.clear()
            self._allowed.add(key)

    def _mark(self, mount_table: int) -> None:
        """Marks the file systems that are new, forgets those that are gone."""
        text = _read_all(mount_table)
        self._table_of_mounts = text
        self._origin.learn()
        wanted = mounts.to_mark(text, self._only)
        self._settled.devices = frozenset(
            _number(one) for one, _, kind in mounts.parse(text) if kind in SHOWS_WRITES
        )
        self._marked = {device: point for device, point in self._marked.items() if device in wanted}
        for device, point in wanted.items():
            # Also those that were marked: a stick that was changed for another one has the first one's number.
            try:
                self._group.mark_file_system(point)
                self._marked[device] = point
            except OSError as error:
                if point not in self._unmarked:
                    self._unmarked.add(point)
                    self._reports.say("unmarked", mount=point, error=str(error))

    def _swap(self) -> None:
        """The new table as a whole, or the old one and the reason."""
        try:
            self._judge = self._load(self._judge)
        except (OSError, ValueError) as error:
            self._reports.say("table", error=str(error))
            return
        self._allowed.clear()
        self._root_only.forget()
        self._group.forget_ignored()
        self._reports.say("table", error="")

    def _load(self, before: Judge | None) -> Judge:
        with open(self._table_file, "rb") as file:  # noqa: PTH123
            data = file.read(MAX_TABLE_BYTES + 1)
        if len(data) > MAX_TABLE_BYTES:
            raise TableMistake(f"the table has more than {MAX_TABLE_BYTES} bytes")
        content = json.loads(data)
        groups = {int(user): frozenset(names) for user, names in content["groups"].items()}
        table = ApplicationTable.from_json(content["table"])
        judge = Judge(
            table, self._settled, self._origin, place=content["place"], groups=groups, limit_ms=self._limit_ms,
            base_ms=content.get("base_ms"), packages=content.get("packages"),
        )  # fmt: skip
        if before is not None:
            judge.take_over(before)
        return judge


def _number(device: str) -> int:
    major, _, minor = device.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else 0


def _read_all(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return os.fsdecode(b"".join(parts))


def run(config: dict[str, object], page: mmap.mmap) -> None:
    """Runs the responder in this process until SIGTERM."""

    def stop(_number: int, _frame: object) -> None:
        raise Stop

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # see settled.py
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    responder = None
    try:
        responder = Responder(config, page)
        responder.run()
    except Stop:
        if responder is not None:
            responder.leave()
