"""A refused person asks for an exception at the device: in seconds it waits in the console, with their words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_collector.rollout.requests import Request, RequestState, requests
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_policies.parse import load_pack
from support.school_stage import Stage, until

RULE = load_pack("default").applications[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        made.init()
        made.start_collector()
        made.enrol()
        made.start_agent()
        until(lambda: "policy.applied" in made.kinds(), 40, made.logs())
        yield made
    finally:
        made.close()


def asked(stage: Stage) -> tuple[Request, ...]:
    state = stage.collector_state
    store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
    try:
        return requests(store, "tests.example", 4_000_000_000_000)
    finally:
        store.close()


@pytest.mark.timeout(180)
def test_a_request_arrives_with_its_words_and_only_in_the_sealed_event(stage: Stage) -> None:
    said = stage.tell_agent("ask", RULE.id, "--reason", "lesson", "--words", "zebrafish for lesson 3")
    assert said.returncode == 0, said.stdout + said.stderr
    number = said.stdout.split("number is ")[1].split(":")[0]
    until(lambda: len(asked(stage)) == 1, 20, stage.logs())
    (request,) = asked(stage)
    assert (request.rule_id, request.reason, request.reference) == (RULE.id, "lesson", number)
    assert request.words == "zebrafish for lesson 3"
    assert request.wanted == RULE.description[:200]
    assert request.state is RequestState.WAITING
    assert f"--rule {RULE.id}" in request.grant_command
    stage.stop_collector()
    for file in stage.collector_state.rglob("*.db*"):
        assert b"zebrafish" not in file.read_bytes(), file

    refused = stage.tell_agent("ask", "no.such.rule")
    assert refused.returncode == 1
    assert "no rule in force is called 'no.such.rule'" in refused.stderr
