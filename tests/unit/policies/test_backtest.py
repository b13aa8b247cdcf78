"""A policy tried against what happened: counted at least, never twice, and by the device's own engine."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.trying.backtest import Backtest, Effect, Outcome, Pair
from schoolkeeper_policies.trying.report import make_plan, plan_json, plan_text
from schoolkeeper_policies.trying.sightings import Sighting, as_json, read_sightings
from schoolkeeper_policies.trying.slots import Slots
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances, ZoneClock, compile_condition, holds
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.people import account_pseudonym
from schoolkeeper_proto.policy import MatchBy, MediaAccess

LONDON = ZoneInfo("Europe/London")
KEY = b"k" * 32
EMPTY = OpenBundle(
    hash=b"",
    manifest=policy.BundleManifest(format=1, school_id="s", group="ks2", version=1, compiled_at_unix_ms=0),
)
SCHOOL = policy.Applicability(
    times=(policy.TimeWindow(weekdays=31, from_minute=510, to_minute=945),), time_zone="Europe/London"
)


def at(day: int, hour: int, minute: int = 0) -> int:
    """A day of November 2026 in London; the 23rd is a Monday."""
    return int(datetime(2026, 11, day, hour, minute, tzinfo=LONDON).timestamp() * 1000)


def blocking(
    when: policy.Applicability | None = SCHOOL, decision: DecisionKind = DecisionKind.BLOCK
) -> OpenBundle:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="games"),
        decision=decision,
        matches=(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text="steam"),),
        when=when,
    )
    return replace(EMPTY, applications=policy.ApplicationsSection(rules=(rule,)))


def started(at_ms: int, device: str = "d1", **more: object) -> Sighting:
    held = Sighting("started", device, "ks2", at_ms, b"", "on-site", ("/usr/games/steam", "", ""))
    return held._replace(**more)  # type: ignore[arg-type]


def usage(
    hour_ms: int, times: int, first_ms: int, aggregate: bytes = b"a" * 16, device: str = "d1"
) -> Sighting:
    return started(first_ms, device, kind="usage", times=times, hour_ms=hour_ms, aggregate=aggregate)


def tried(
    sightings: list[Sighting], before: OpenBundle | None = EMPTY, after: OpenBundle | None = None
) -> Outcome:
    pairs = {"ks2": Pair(before=before, after=after or blocking())}
    backtest = Backtest(pairs, since_ms=at(16, 0), until_ms=at(30, 0))
    backtest.feed(sightings)
    return backtest.result()


def test_starts_are_counted_by_rule_device_and_program() -> None:
    outcome = tried(
        [started(at(24, 9, 12)), started(at(24, 9, 30), "d2"), started(at(24, 16)), started(at(28, 10))]
    )
    (tally,) = outcome.of(Effect.REFUSED)
    assert (tally.rule_id, tally.count, tally.devices, tally.first_ms) == (
        "games",
        2,
        {"d1", "d2"},
        at(24, 9, 12),
    )
    assert dict(tally.names) == {"steam": 2}


def test_an_hour_in_which_the_rule_changes_counts_its_first_start_only() -> None:
    inside = usage(at(24, 10), 5, at(24, 10, 1))
    outcome = tried([inside])
    assert outcome.count(Effect.REFUSED) == 5
    begins = usage(at(24, 8), 5, at(24, 8, 40))
    outcome = tried([begins])
    (tally,) = outcome.of(Effect.REFUSED)
    assert (tally.count, tally.unsure) == (1, 4)
    assert any("lie across a moment" in bound for bound in outcome.bounds)
    early = usage(at(24, 8), 5, at(24, 8, 10))
    assert tried([early]).count(Effect.REFUSED) == 0


def test_a_later_aggregate_replaces_the_earlier_and_single_starts_are_in_it() -> None:
    hour = at(24, 10)
    repeated = [usage(hour, 2, hour + 1), usage(hour, 3, hour + 1), usage(hour, 1, hour + 1)]
    assert tried(repeated).count(Effect.REFUSED) == 3
    singles = [started(hour + 60_000 * n) for n in range(4)]
    assert tried([*repeated, *singles]).count(Effect.REFUSED) == 4
    assert tried([usage(hour, 9, hour + 1), *singles]).count(Effect.REFUSED) == 9
    another = usage(hour, 2, hour + 1, b"b" * 16, "d2")
    assert tried([*repeated, another]).count(Effect.REFUSED) == 5


def test_what_both_policies_do_alike_is_not_counted() -> None:
    assert tried([started(at(24, 10))], before=blocking(), after=blocking()).tallies == ()
    freed = tried([started(at(24, 10))], before=blocking(), after=EMPTY)
    assert freed.count(Effect.STARTED) == 1
    assert freed.of(Effect.STARTED)[0].rule_id == "games"
    warned = tried([started(at(24, 10))], after=blocking(decision=DecisionKind.WARN))
    assert warned.count(Effect.WARNED) == 1


def test_a_person_in_the_register_is_told_by_the_pseudonym_of_the_event() -> None:
    def told(account: str) -> bytes:
        return account_pseudonym(KEY, account)[:16]

    people = policy.PeopleSection(
        sets=(policy.PeopleSet(groups=("pupils",), members=told("anna")[:8]),), member_bytes=8
    )
    when = policy.Applicability(user_groups=("people:pupils",))
    after = replace(blocking(when), people=people, collection=policy.CollectionSection(pseudonym_key=KEY))
    sightings = [started(at(24, 10), person=told("anna")), started(at(24, 11), person=told("bill"))]
    outcome = tried(sightings, after=after)
    # Bill is not in the register: on a device the stricter side would hold for him, too.
    assert outcome.count(Effect.REFUSED) == 2
    known = replace(
        people, sets=(*people.sets, policy.PeopleSet(groups=("staff",), members=told("bill")[:8]))
    )
    assert tried(sightings, after=replace(after, people=known)).count(Effect.REFUSED) == 1


def test_media() -> None:
    rule = policy.MediaRule(
        text=policy.RuleText(rule_id="media"),
        access=MediaAccess.ENCRYPTED_ONLY,
        plain=MediaAccess.READ_ONLY,
        when=policy.Applicability(places=(Place.OFF_SITE,)),
    )
    after = replace(EMPTY, media=policy.MediaSection(rules=(rule,)))

    def medium(encryption: str, place: str = "off-site") -> Sighting:
        what = ("S", "abcd", "1234", "usb", encryption)
        return Sighting("medium", "d1", "ks2", at(24, 10), b"", place, what)

    seen = [medium("none"), medium("luks2"), medium("none", "on-site"), medium("unknown")]
    outcome = tried(seen, after=after)
    assert outcome.count(Effect.MEDIUM_LIMITED) == 2
    assert tried(seen, before=after, after=EMPTY).count(Effect.MEDIUM_FREED) == 2


def test_what_lies_outside_is_counted_as_such() -> None:
    outcome = tried([started(at(1, 10)), started(at(24, 10), group="other"), started(at(24, 10))])
    assert (outcome.events, outcome.skipped, outcome.count(Effect.REFUSED)) == (3, 2, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_million_are_decided_as_each_one_alone_would_be(seed: int) -> None:
    """Deciding once per distinct question gives what deciding every event gives, over a change of clocks."""
    draw = random.Random(seed)
    when = policy.Applicability(
        times=(
            policy.TimeWindow(weekdays=0b1010101, from_minute=60, to_minute=95),
            policy.TimeWindow(weekdays=127, from_minute=1380, to_minute=15),
        ),
        days=(policy.DayRange(first_day=20_748, last_day=20_755),),
        time_zone="Europe/London",
        exceptions=(
            policy.RuleException(exception_id="e", not_before_unix_ms=at(1, 3) + 1, expires_unix_ms=at(2, 7)),
        ),
    )
    since = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp() * 1000)
    until = since + 16 * 86_400_000
    slots = Slots([when], since, until)
    condition, clock = compile_condition(when), ZoneClock()
    told: dict[int, bool | None] = {}
    for _ in range(4000):
        moment = draw.randrange(since, until)
        answer = holds(condition, Circumstances(now_ms=moment), clock)
        assert told.setdefault(slots.of(moment), answer) == answer, datetime.fromtimestamp(
            moment / 1000, LONDON
        )


def test_files_of_both_kinds_read_back(tmp_path: Path) -> None:
    sightings = [started(at(24, 10), person=b"p" * 16), usage(at(24, 9), 3, at(24, 9, 5))]
    lines = tmp_path / "events.jsonl"
    lines.write_text("\n".join(map(as_json, sightings)) + "\n")
    assert list(read_sightings(lines)) == sightings
    lines.write_text('{"kind": "started"}\n' + as_json(sightings[0]) + "\nnonsense\n")
    with pytest.raises(PolicyError) as caught:
        list(read_sightings(lines))
    assert [str(problem.position).rpartition("/")[2] for problem in caught.value.problems] == [
        "events.jsonl:1:1",
        "events.jsonl:3:1",
    ]


@pytest.mark.requirement("W-112")
def test_the_plan_says_it_in_words_and_in_json() -> None:
    pairs = {"ks2": Pair(before=EMPTY, after=blocking()), "ks3": Pair(before=EMPTY, after=blocking())}
    outcome = tried([started(at(24, 9, 12)), started(at(24, 9, 30), "d2")])
    plan = make_plan(pairs, devices={"ks2": 10, "ks3": 5}, outcome=outcome, time_zone="Europe/London")
    text = plan_text(plan)
    assert "stricter: applications games added (ks2, ks3: 15 devices)" in text
    assert (
        "games: would have refused at least 2 starts on 2 devices, the first on Tue 24 Nov 2026 09:12; top: steam 2"
        in text
    )
    data = json.loads(json.dumps(plan_json(plan)))
    assert data["format"] == 1
    assert data["changes"][0]["devices"] == 15
    assert data["backtest"]["effects"][0]["count"] == 2
    assert data["backtest"]["at_least"] is True
