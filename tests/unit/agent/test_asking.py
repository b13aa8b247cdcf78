"""A refused person asks for an exception over the local socket: bounded, counted, and as who they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from schoolkeeper_agent.asking import MAX_WORDS, PER_HOUR, Asking, AskingRefused, ask, serve
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle

HOUR_MS = 3_600_000
RULE = policy.ApplicationRule(
    text=policy.RuleText(rule_id="games.minefield", description="Minefield does not start."),
    decision=model.DecisionKind.BLOCK,
    matches=(),
)
BUNDLE = OpenBundle(
    hash=b"h",
    manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
    applications=policy.ApplicationsSection(rules=(RULE,)),
)


class Bench:
    def __init__(self) -> None:
        self.now_ms = 0
        self.asked: list[tuple[model.ExceptionRequested, int]] = []
        self.asking = Asking(
            lambda: BUNDLE, lambda body, user: self.asked.append((body, user)), lambda: self.now_ms
        )

    def over_the_socket(self, run_dir: Path, rule: str, reason: str, words: str) -> str:
        async def work() -> str:
            server = await serve(run_dir, self.asking)
            try:
                return await asyncio.to_thread(ask, run_dir, rule, reason, words)
            finally:
                server.close()

        return asyncio.run(work())


def test_a_request_carries_rule_reason_words_and_who_the_kernel_says_asks(tmp_path: Path) -> None:
    import os

    bench = Bench()
    number = bench.over_the_socket(tmp_path, "games.minefield", "lesson", "for lesson 3, \u0175y\u0302")
    ((body, user_id),) = bench.asked
    assert user_id == os.getuid()
    assert body == model.ExceptionRequested(
        rule_id="games.minefield", reason="lesson", words="for lesson 3, \u0175y\u0302",
        wanted="Minefield does not start.", reference=number,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "reason", "words", "because"),
    [
        ("no.such.rule", "lesson", "", "no rule in force is called"),
        ("games.minefield", "because", "", "the reason must be one of"),
        ("games.minefield", "lesson", "x" * (MAX_WORDS + 1), "at most 300"),
        ("games.minefield", "lesson", "x" * 10_000, "at most 300"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    tmp_path: Path, rule: str, reason: str, words: str, because: str
) -> None:
    bench = Bench()
    with pytest.raises(AskingRefused, match=because):
        bench.over_the_socket(tmp_path, rule, reason, words)
    assert not bench.asked


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[1]\n", b"7\n", b"\xff\n", b"{" * 4000 + b"\n", b'{"rule": 1}\n']
)
def test_garbage_is_refused(line: bytes) -> None:
    with pytest.raises(AskingRefused, match="cannot be read"):
        Bench().asking.take(line, 1000)


def test_an_account_asks_five_times_an_hour_and_others_are_not_held_up_by_it() -> None:
    bench, line = Bench(), b'{"rule": "games.minefield", "reason": "lesson"}\n'
    for _ in range(PER_HOUR):
        bench.asking.take(line, 1000)
    with pytest.raises(AskingRefused, match="5 times within an hour"):
        bench.asking.take(line, 1000)
    bench.asking.take(line, 1001)
    bench.now_ms = HOUR_MS
    bench.asking.take(line, 1000)
    assert len(bench.asked) == PER_HOUR + 2


def test_without_an_agent_the_person_is_told_whom_to_go_to(tmp_path: Path) -> None:
    with pytest.raises(AskingRefused, match="tell your teacher"):
        ask(tmp_path, "games.minefield", "lesson", "")
