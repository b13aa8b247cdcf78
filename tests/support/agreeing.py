"""The service's side of the agreement with real parts: desk, heart, core, writer, spool and socket."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Self, cast

from fakes.silent_teller import SilentTeller
from schoolkeeper_agent import core
from schoolkeeper_agent.agreeing import deciding, texts
from schoolkeeper_agent.agreeing.desk import AgreeingDesk
from schoolkeeper_agent.agreeing.kept import NOTE, decode
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.notice_child import FOLDER
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session.agreeing_lines import Answer, By, Request, Said
from schoolkeeper_agent.session.server import SessionServer
from schoolkeeper_agent.spool.contract import Appended, Doubt, Spool, SpoolUnwritable
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_agent.state import HeldSession
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.notices.agreement import Band, version_of
from support.core_playbook import MONDAY_10, bundle_of
from support.spools import OWNER, TARGET

ME, OTHER, SHARED, ADMIN = 4711, 4712, 4713, 0
ACCOUNTS = {ME: "pupil1", OTHER: "pupil2", SHARED: "reception", ADMIN: "root", os.getuid(): "me"}
SECTION = policy.AgreementSection(
    document="acceptable-use", version="2026-09", bands=("ks1", "ks2"), adult_accepts=("ks1",),
    again_after_days=366, band_of_group="ks2",
)  # fmt: skip
KINDS = ("aup.shown", "aup.accepted", "aup.deferred", "media.refused")


class Bench:
    """Real desk, door, heart, core, writer, spool and socket; a clock that the test moves."""

    def __init__(self, run_dir: Path, section: policy.AgreementSection | None = SECTION) -> None:
        self.run_dir = run_dir
        self.skipped_ms = 0
        self.full = False
        self.appended: list[Appended] = []
        self.shown: list[Tell] = []
        self.jobs: list[asyncio.Task[None]] = []
        self.heart = Heart(
            state=core.initial(bundle_of(kinds=KINDS), run_id=b"run"),
            writer=FrameWriter(self._open, self.now, Hooks(appended=self.appended.append)),
            stamp=Stamp(now=self.now, boot_id=bytes(16), skew_ms=lambda _: 0),
            enforcers={},
            teller=SilentTeller(),
            budget=BudgetWatch(1, 1),
        )
        self.put_in_force(section)
        self.parts = cast(
            Parts,
            SimpleNamespace(
                heart=self.heart,
                writer=self.heart.writer,
                clock=SimpleNamespace(now=self.now),
                settings=SimpleNamespace(run_dir=run_dir),
                believed_ms=lambda: self.now().wall_ms,
                spawn=lambda work: self.jobs.append(asyncio.ensure_future(work)),
            ),
        )
        self.desk = AgreeingDesk(self.parts, self._account, self._say)
        self.server = SessionServer(run_dir, terminals=lambda _: [], agreeing=self.desk)

    def _open(self, doubt: Doubt | None) -> Spool:
        spool = open_spool(
            self.run_dir / "spool.db", OWNER, TARGET, self.now(), room_bytes=1 << 20, doubt=doubt
        )
        append = spool.append

        def or_full(*given: object) -> Appended:
            if self.full:
                raise SpoolUnwritable("the disk is full")
            return append(*given)  # type: ignore[arg-type]

        spool.append = or_full  # type: ignore[method-assign, assignment]
        return spool

    def put_in_force(self, section: policy.AgreementSection | None, *, written: bool = True) -> OpenBundle:
        bundle = bundle_of(*([section] if section is not None else []), kinds=KINDS)
        folder = self.run_dir / FOLDER
        folder.mkdir(exist_ok=True)
        for name, content in texts.written(bundle).items() if written else ():
            (folder / name).write_text(content, encoding="utf-8")
        self.heart.state = self.heart.state.with_policy(bundle, ())
        return bundle

    def now(self) -> Moment:
        ms = time.monotonic_ns() // 1_000_000 + self.skipped_ms
        return Moment(wall_ms=MONDAY_10 + ms, monotonic_ms=ms)

    async def _account(self, user_id: int, now_ms: int) -> str | None:
        assert now_ms
        return ACCOUNTS.get(user_id)

    async def _say(self, words: Tell) -> None:
        self.shown.append(words)

    def sign_in(self, *users: int) -> None:
        for user_id in users:
            held = HeldSession(session_id=f"c{user_id}", account=ACCOUNTS[user_id], user_id=user_id)
            self.heart.state.sessions[held.session_id] = held

    @property
    def version(self) -> str:
        return version_of(self.heart.state.signed, Band.KS2)

    async def say(
        self, what: Said, *, by: By = By.SELF, user_id: int = ME, version: str = "", language: str = "en"
    ) -> Answer:
        request = Request(what=what, version=version or self.version, language=language, by=by)
        return await self.desk.answer(user_id, request)

    def events(self) -> int:
        return sum(one.events for one in self.appended)

    async def note(self) -> dict[bytes, deciding.Kept]:
        return decode(await asyncio.wrap_future(self.heart.writer.call(lambda spool: spool.note(NOTE))))

    async def __aenter__(self) -> Self:
        self.heart.writer.start()
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self.jobs)
        await self.server.close()
        self.heart.writer.stop()
