"""Laptops come back in any order: what is found, and whom it waits for, is the same."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_proto import model
from support.detection import HOUR_MS, NOON_MS, Bench, make_event, refused, user
from support.stores import StoreUrls

RULES = load_rules("default")
MEDIUM = model.Medium(kernel_name="sdb")
BODIES = st.sampled_from(
    [
        refused(),
        refused("games.launchers"),
        refused("demo", model.DecisionKind.BLOCK_AND_RAISE),
        model.MediumWriteRefused(medium=MEDIUM),
        model.MediumRefused(medium=MEDIUM),
        model.AgentKilled(down_seconds=3),
        model.PersonReport(recipient="head"),
        model.FilterBypass(technique="vpn"),
        model.Heartbeat(),
    ]
)
EVENTS = st.lists(
    st.tuples(BODIES, st.integers(0, 30), st.integers(0, 1), st.sampled_from(["p", "q"])),
    min_size=1,
    max_size=16,
)


def outcome(events: list[tuple[int, model.Event]]) -> dict[str, object]:
    """What one order of arrival leads to; everything came in at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        urls = StoreUrls(store=f"sqlite:///{folder}/c.db", keystore=f"sqlite:///{Path(folder)}/k.db")
        bench = Bench.make(urls, RULES)
        numbers = [bench.device(name) for name in ("d1", "d2")]
        for device, event in events:
            bench.store_event(numbers[device], event, NOON_MS + 100 * HOUR_MS)
        bench.run(NOON_MS + 100 * HOUR_MS)
        alerts = bench.rows("alerts")
        singles = {rule.about.name for rule in RULES.tests if rule.about.name.count("repeated") == 0}
        found = {
            "alerts": {(row["rule_id"], row["subject"], row["audience"], row["severity"]) for row in alerts},
            "single findings": {bytes(r["finding_id"]) for r in bench.rows("findings") if r["rule_id"] in singles},  # type: ignore[call-overload]
            "incidents": {(row["category"], row["subject"], row["audience"]) for row in bench.rows("incidents")},
            "times": {(row["rule_id"], row["subject"], row["first_ms"], row["last_ms"]) for row in alerts
                      if row["rule_id"] in singles},
        }  # fmt: skip
        bench.store.close()
        return found


@settings(max_examples=12, deadline=None)
@given(drawn=EVENTS, seed=st.integers(0, 1 << 16))
def test_what_is_found_does_not_depend_on_the_order_of_arrival(
    drawn: list[tuple[model.Body, int, int, str]], seed: int
) -> None:
    events = [
        (device, make_event(body, number=number, at_ms=NOON_MS + hour * HOUR_MS, who=user(who)))
        for number, (body, hour, device, who) in enumerate(drawn)
    ]
    shuffled = list(events)
    random.Random(seed).shuffle(shuffled)
    assert outcome(events) == outcome(shuffled)
