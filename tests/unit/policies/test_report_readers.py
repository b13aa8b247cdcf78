"""Whom a person can tell is what the pack says: a chair of governors, too, and in words that a child understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto.notices.render import WORDS
from support.language import app, pack


@pytest.mark.requirement("T-28")
def test_a_pack_may_name_the_chair_and_a_trusted_adult(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app())
    for file in folder.rglob("*.yaml"):
        text = file.read_text()
        file.write_text(
            text.replace("readers: [dsl], seal: any-one", "readers: [dsl, head, chair, trusted-adult]")
        )
    (item,) = (one for one in load_pack(str(folder)).collection.collected if "person.report" in one.kinds)
    assert item.readers == ("dsl", "head", "chair", "trusted-adult")
    for (language, level), words in WORDS.items():
        assert {"chair", "trusted-adult"} <= words.readers.keys(), (language, level)
