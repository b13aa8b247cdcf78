"""CEOP's report page in the desktop's menu: there, hidden, or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from schoolkeeper_agent.sensors.linux.posture_shortcut import ceop_shortcut
from schoolkeeper_proto.model import PostureResult

OURS = (Path(__file__).parents[3] / "packaging/linux/agent/schoolkeeper-ceop.desktop").read_text()
OTHER = "[Desktop Entry]\nType=Application\nName=Paint\nExec=paint\n"


@pytest.mark.requirement("W-101")
@pytest.mark.parametrize(
    ("entries", "result", "said"),
    [
        ([OTHER, OURS], PostureResult.PASS, "leads to ceop.police.uk"),
        ([OTHER], PostureResult.FAIL, "no entry of the menu"),
        ([], PostureResult.FAIL, "no entry of the menu"),
        ([f"{OURS}NoDisplay = true\n"], PostureResult.FAIL, "hidden"),
        (
            ["[Desktop Entry]\nHidden=true\nURL=https://www.ceop.police.uk/\n", OURS],
            PostureResult.PASS,
            "leads",
        ),
        (
            [f"{OTHER}[Desktop Action x]\nExec=xdg-open https://www.ceop.police.uk/\n"],
            PostureResult.FAIL,
            "no entry of the menu",
        ),
        (["[Desktop Entry]\nComment=not ceop.police.uk\nExec=paint\n"], PostureResult.FAIL, "no entry"),
    ],
)
def test_the_shortcut_is_there_or_its_absence_is_said(
    entries: list[str], result: PostureResult, said: str
) -> None:
    found = ceop_shortcut(entries)
    assert found.result is result
    assert said in found.evidence
