"""What people are told about how long something is kept is what the collector does."""

from __future__ import annotations

import pytest

from schoolkeeper_collector.store.retention import DAY_MS, KEEP_MS, retention_of
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_proto.bundle import open_bundle
from schoolkeeper_proto.codec import kind_number


@pytest.mark.requirement("T-41")
@pytest.mark.parametrize("pack", ["default", "demo"])
def test_each_notice_says_how_long_the_collector_really_keeps_it(pack: str) -> None:
    data = compile_pack(
        pack, school_id="tests.example", group="g", version=1, compiled_at_unix_ms=0, pseudonym_key=bytes(32)
    )
    bundle = open_bundle(
        data,
        school_id="tests.example",
        group="g",
        capabilities=frozenset({"applications/1", "media/1", "screen/1", "posture/1"}),
    )
    said = {held.kind: held.retention_days for held in bundle.collection.kinds}
    done = {kind: KEEP_MS[retention_of(kind_number(kind))] // DAY_MS for kind in said}
    assert said
    assert said == done
