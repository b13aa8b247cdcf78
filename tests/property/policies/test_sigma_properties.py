"""Parsers that never fall over, and windows whose answer does not depend on the order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_policies.detection.load import rules_of_texts
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.sigma import model
from schoolkeeper_policies.sigma.compile import compile_expression
from schoolkeeper_policies.sigma.condition import ConditionRefused, parse_condition
from schoolkeeper_policies.sigma.correlate import Entry, Window
from schoolkeeper_policies.sigma.parse import parse_rules
from schoolkeeper_policies.source import read_all
from schoolkeeper_proto.model import Severity

NAMES = """title name id level logsource detection condition correlation type rules group-by timespan schoolkeeper
tests selection f f|re f|contains|all f|gte product category gte field audience subject"""
WORDS = "a.b low application.refused schoolkeeper selection event_count temporal 10m 1d subject"
KEYS = st.sampled_from(NAMES.split())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 500),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(WORDS.split()),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)
RULES = st.fixed_dictionaries(
    {"title": st.just("t"), "name": st.just("a.b"), "level": st.just("low"), "detection": TREES},
    optional={"logsource": TREES, "correlation": TREES, "schoolkeeper": TREES, "tests": TREES},
)


def as_yaml(value: object) -> str:
    """A flow mapping; JSON-like, which YAML contains."""
    match value:
        case dict():
            return "{" + ", ".join(f'"{key}": {as_yaml(item)}' for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(as_yaml(item) for item in value) + "]"
        case str():
            return (
                '"' + "".join(c if c.isalnum() or c in " .|*_-" else f"\\U{ord(c):08x}" for c in value) + '"'
            )
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


@settings(max_examples=400, deadline=None)
@given(document=st.one_of(RULES, TREES))
def test_any_document_is_a_rule_or_is_refused_with_its_place(document: object) -> None:
    text = as_yaml(document)
    for parse in (lambda: parse_rules(text, file="f.yaml"), lambda: rules_of_texts({"f.yaml": text})):
        for problem in problems_of(parse):
            assert problem.position.file == "f.yaml"
            assert problem.reason


def problems_of(parse: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        parse()
    except PolicyError as error:
        return error.problems or (Problem(position=Position(file=""), reason="refused without a reason"),)
    return ()


@settings(max_examples=400, deadline=None)
@given(text=st.text(alphabet="ab:-[]{}#&*!|>'\"%@\n \t,?~<=0x1_", max_size=60))
def test_any_text_is_yaml_of_the_subset_or_is_refused(text: str) -> None:
    for problem in problems_of(lambda: read_all(text, file="f.yaml")):
        assert problem.position.file == "f.yaml"


TEST = model.FieldTest(field="f", operator=model.Operator.EXISTS, values=(True,), position=Position(file="f"))


@settings(max_examples=400, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(
            ["a", "b", "and", "or", "not", "(", ")", "1", "all", "of", "them", "a*", "_x", "|", "2", "and("]
        ),
        max_size=40,
    ),
)
def test_any_condition_is_parsed_or_refused(words: list[str]) -> None:
    text = " ".join(words)
    try:
        expression, _ = parse_condition(text, {"a": TEST, "b": TEST, "_x": TEST})
        compile_expression(expression)
        offset = 0
    except ConditionRefused as refused:
        offset = refused.offset
    assert 0 <= offset <= len(text)


def correlation(kind: model.CorrelationType, count: int, span: int) -> model.Correlation:
    about = model.About(
        name="c", uuid="", title="", description="", level=Severity.LOW, version="", tags=(), extension=None,
        tests=None, document=0, position=Position(file="f"),
    )  # fmt: skip
    return model.Correlation(
        about=about, type=kind, rules=(), group_by=(), timespan_ms=span, count=count, field="", generate=False
    )


ENTRIES = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("xyz")), min_size=1, max_size=14).map(
    lambda pairs: [Entry(at, f"e:{n}", key) for n, (at, key) in enumerate(pairs)]
)
KINDS = st.sampled_from([model.CorrelationType.EVENT_COUNT, model.CorrelationType.VALUE_COUNT])


def holds_somewhere(entries: list[Entry], kind: model.CorrelationType, count: int, span: int) -> bool:
    """The definition, without any cleverness: some window of the timespan has enough."""
    for first in entries:
        inside = [entry for entry in entries if 0 <= entry.at_ms - first.at_ms <= span]
        distinct = len(inside) if kind is model.CorrelationType.EVENT_COUNT else len({e.key for e in inside})
        if distinct >= count:
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(entries=ENTRIES, kind=KINDS, count=st.integers(1, 4), span=st.integers(0, 30), order=st.randoms())
def test_whether_a_group_is_found_does_not_depend_on_the_order_of_arrival(
    entries: list[Entry], kind: model.CorrelationType, count: int, span: int, order: object
) -> None:
    rule = correlation(kind, count, span)
    shuffled = list(entries)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = holds_somewhere(entries, kind, count, span)
    for arrival in (entries, shuffled):
        window = Window()
        found = [window.add(rule, entry, horizon_ms=-1) for entry in arrival]
        assert any(found) is expected


@settings(max_examples=300, deadline=None)
@given(entries=ENTRIES, kind=KINDS, count=st.integers(1, 4), span=st.integers(0, 30))
def test_a_finding_is_within_the_timespan_counts_each_event_once_and_survives_storage(
    entries: list[Entry], kind: model.CorrelationType, count: int, span: int
) -> None:
    rule = correlation(kind, count, span)
    kept, stored = Window(), b""
    used: list[str] = []
    for entry in itertools.chain(entries, entries):  # given twice, counted once
        found = kept.add(rule, entry, horizon_ms=-1)
        restarted = Window.load(stored)
        assert restarted.add(rule, entry, horizon_ms=-1) == found
        stored = restarted.dump()
        assert stored == kept.dump()
        if found:
            times = [one.at_ms for one in found]
            assert max(times) - min(times) <= span
            assert len(found) >= count
            assert entry in found or kind is model.CorrelationType.VALUE_COUNT
            used += [one.reference for one in found]
    assert len(used) == len(set(used))
