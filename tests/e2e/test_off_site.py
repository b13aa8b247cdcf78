"""An off-site laptop: sixty days without its collector, then everything arrives, with an expired certificate."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.chaos import Chaos
from support.school_stage import Stage, until


def later(library: Path, days: int) -> dict[str, str]:
    """The wall clock of a later day; timers run on, as on a machine that was switched off in between.

    Preloaded and not by the faketime program: that one would take the signals meant for the agent.
    """
    return {"LD_PRELOAD": str(library), "FAKETIME": f"+{days}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.timeout(300)
@pytest.mark.requirement("W-01")
def test_sixty_days_offline_then_everything_arrives(tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("needs faketime: `make lab` installs it")
    stage = Stage(tmp_path)
    chaos = Chaos(stage, random.Random(1), most=10)
    try:
        stage.init()
        stage.start_collector()
        stage.enrol()
        chaos.start_agent()
        until(lambda: len(chaos.journalled("kept")) > 20, 30, f"events are kept\n{stage.logs()}")
        stage.stop_agent()
        stage.stop_collector()
        for days in (1, 20, 59):
            stage.environment = later(library, days)
            kept = len(chaos.journalled("kept"))
            chaos.start_agent()
            until(lambda kept=kept: len(chaos.journalled("kept")) > kept + 50, 60, stage.logs())
            stage.stop_agent()
        stage.environment = later(library, 60)
        stage.start_collector()
        chaos.start_agent()
        chaos.settle(120)
        kept, stored = chaos.account()
        assert kept <= stored
        assert kept > 170
    finally:
        stage.close()
