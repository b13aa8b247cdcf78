"""The linear-time patterns: the same answer as Python's `re` inside the subset, and never slow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_policies.sigma.regex import Pattern, PatternRefused
from support.work import lines_of

ATOMS = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", r"\d", r"\w", r"\.", "[a-c1]", "[^b-c]", r"[\d_]"]
)
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??"])


def sequences(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(parts, COUNTS).map("".join)
    return st.lists(repeated, min_size=1, max_size=4).map("".join)


def groups(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    choice = st.lists(sequences(inner), min_size=1, max_size=3).map("|".join)
    return st.one_of(choice.map("({})".format), choice.map("(?:{})".format))


PATTERNS = st.tuples(
    st.sampled_from(["", "^"]),
    sequences(st.recursive(ATOMS, groups, max_leaves=6)),
    st.sampled_from(["", "$"]),
).map("".join)
TEXTS = st.text(alphabet="abcd1._AB\n", max_size=12)


@settings(max_examples=600, deadline=None)
@given(pattern=PATTERNS, text=TEXTS, ignore_case=st.booleans())
def test_it_answers_as_python_does(pattern: str, text: str, ignore_case: bool) -> None:
    ours = Pattern(pattern, ignore_case=ignore_case).search(text)
    # '$' here is the end of the text, as \Z is in Python.
    theirs = re.search(pattern.replace("$", r"\Z"), text, (re.IGNORECASE if ignore_case else 0) | re.ASCII)
    assert ours is (theirs is not None)


@settings(max_examples=500, deadline=None)
@given(pattern=st.text(alphabet=r"ab()[]{}*+?|\^$.,-0129dDbB:=!<x", max_size=24), text=TEXTS)
def test_any_pattern_is_taken_or_refused_with_its_place(pattern: str, text: str) -> None:
    try:
        Pattern(pattern).search(text)
    except PatternRefused as refused:
        offset = refused.offset
    else:
        offset = 0
    assert 0 <= offset <= len(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", ".*.*.*.*.*b", "(.{1,9}){1,9}b", "^(a?){50}a{50}$"]
)
def test_no_pattern_is_slow_on_any_text(pattern: str) -> None:
    compiled = Pattern(pattern)
    texts = ["a" * 4_096, "a" * 4_095 + "!", "".join(chr(97 + i * i % 25) for i in range(4_096))]
    for text in texts:
        assert lines_of(lambda text=text: compiled.search(text)) < 100 * len(text)  # type: ignore[misc]
