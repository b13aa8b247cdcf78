"""The subset of Sigma: what it means, and that everything else is refused with its place."""

from __future__ import annotations

import pytest

from schoolkeeper_policies.detection.load import rules_of_texts
from schoolkeeper_policies.detection.records import EventRecord, FactRecord, MapRecord, fields_of
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.sigma.compile import FieldValue, compile_expression
from schoolkeeper_policies.sigma.matching import JsonRecord, read_match_rules
from schoolkeeper_policies.sigma.model import Rule
from schoolkeeper_policies.sigma.parse import parse_rules
from schoolkeeper_proto import model

RULE = """\
title: t
name: a.b
level: low
logsource: {{product: schoolkeeper, category: application.refused}}
detection:
  s: {selection}
  condition: {condition}
"""


def rule(selection: str, condition: str = "s", more: str = "") -> Rule:
    text = RULE.format(selection=selection, condition=condition)
    if more:
        text = text.replace("  condition:", f"  {more}\n  condition:")
    (parsed,) = parse_rules(text, file="f.yaml")
    assert isinstance(parsed, Rule)
    return parsed


def matches(selection: str, condition: str = "s", more: str = "", **fields: FieldValue) -> bool:
    return compile_expression(rule(selection, condition, more).expression)(MapRecord(fields))


@pytest.mark.parametrize(
    ("selection", "value", "expected"),
    [
        ("{f: abc}", "abc", True),
        ("{f: abc}", "ABC", True),
        ("{f|cased: abc}", "ABC", False),
        ("{f: abc}", "xabc", False),
        ("{f: 'a*c'}", "a--c", True),
        ("{f: 'a*c'}", "a--cd", False),
        ("{f: 'a?c'}", "abc", True),
        ("{f: 'a?c'}", "ac", False),
        (r"{f: 'a\*c'}", "a*c", True),
        (r"{f: 'a\*c'}", "abc", False),
        (r"{f: 'C:\\Windows\\*'}", "c:\\windows\\x.exe", True),
        ("{f: '*'}", "", True),
        ("{f: ['a', 'b']}", "b", True),
        ("{f|contains: ['x', 'bc']}", "abcd", True),
        ("{f|contains|all: ['ab', 'cd']}", "abcd", True),
        ("{f|contains|all: ['ab', 'x']}", "abcd", False),
        ("{f|startswith: ab}", "abcd", True),
        ("{f|startswith: b}", "abcd", False),
        ("{f|endswith: cd}", "abcd", True),
        ("{f|endswith: 'c?'}", "abcd", True),
        ("{f|contains: 'b?d'}", "abcde", True),
        ("{f|re: '^a.+d$'}", "abcd", True),
        ("{f|re: '^a.+D$'}", "abcd", False),
        ("{f|re|i: '^a.+D$'}", "abcd", True),
        ("{f|re: b+c}", "xbbbcx", True),
        ("{f: 5}", 5, True),
        ("{f: 5}", 6, False),
        ("{f: '5'}", 5, True),
        ("{f: 1}", True, False),
        ("{f: true}", True, True),
        ("{f: true}", 1, False),
        ("{f|gte: 5}", 5, True),
        ("{f|gt: 5}", 5, False),
        ("{f|lt: 5.5}", 5, True),
        ("{f|lte: 5}", 6, False),
        ("{f|gte: 5}", "9", False),
        ("{f: null}", None, True),
        ("{f: null}", "", False),
        ("{f|exists: true}", "", True),
        ("{f|exists: false}", None, True),
        ("{f|exists: true}", None, False),
        ("{f: abc}", ("x", "abc"), True),
        ("{f|contains|all: [a, b]}", ("xa", "xb"), True),
        ("[{f: x}, {f: abc}]", "abc", True),
        ("{f: abc, g: 1}", "abc", False),
    ],
)
def test_what_a_selection_means(selection: str, value: FieldValue, expected: bool) -> None:
    assert matches(selection, f=value) is expected


def test_values_are_capped_so_that_no_event_can_make_a_rule_slow() -> None:
    assert matches("{f|contains: x}", f="a" * 4_095 + "x")
    assert not matches("{f|contains: x}", f="a" * 4_096 + "x")
    assert matches("{f: x}", f=("a",) * 63 + ("x",))
    assert not matches("{f: x}", f=("a",) * 64 + ("x",))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("s and t", False),
        ("s or t", True),
        ("s and not t", True),
        ("not s or not t", True),
        ("not (s or t)", False),
        ("s or t and t", True),
        ("(s or t) and t", False),
        ("1 of them", True),
        ("all of them", False),
        ("s and not 1 of t*", True),
        ("s and not all of *", True),
        ("NOT t AND s", True),
        ("not not s and not t", True),
    ],
)
def test_what_a_condition_means(condition: str, expected: bool) -> None:
    assert matches("{f: 1}", condition, "t: {f: 2}", f=1) is expected


@pytest.mark.parametrize(
    ("selection", "condition", "said"),
    [
        ("{f|base64: x}", "s", "6:7: the modifier 'base64' is not in the subset"),
        ("{f|cidr: 10.0.0.0/8}", "s", "the modifier 'cidr' is not in the subset"),
        ("{f|contain: x}", "s", "did you mean 'contains'?"),
        ("{f|contains|startswith: x}", "s", "'contains' and 'startswith' together"),
        ("{f|contains: 5}", "s", "'contains' compares texts"),
        ("{f|contains: ''}", "s", "an empty text is in everything"),
        ("{f|gt: '5'}", "s", "'gt' compares numbers"),
        ("{f|exists: 3}", "s", "'exists' takes true or false"),
        ("{f|i: x}", "s", "'i' belongs to 're'"),
        ("{f|re: '(?=x)'}", "s", "regular expression, character 1: look-around"),
        (r"{f|re: '(a)\1'}", "s", r"the escape '\1' is not in the subset"),
        ("{f|re: 'a{1,1000}'}", "s", "a count must be rising"),
        ("[word, other]", "s", "words without a field are not in the subset"),
        ("word", "s", "a selection is a map of fields"),
        ("{'': x}", "s", "a test without a field"),
        ("{f: [[1]]}", "s", "a value is one text, number"),
        ("{f: x}", "s | count() > 5", "aggregations after '|' are not in the subset; use a correlation rule"),
        ("{f: x}", "s and", "character 6: the condition ends too early"),
        ("{f: x}", "(s", "a '(' that is not closed"),
        ("{f: x}", "t", "there is no selection 't'; selections: s"),
        ("{f: x}", "2 of s*", "'2 of' is not in the subset"),
        ("{f: x}", "1 of x*", "no selection is named like 'x*'"),
        ("{f: x}", "s s", "'s' is not expected here"),
        ("{f: x}", "[s]", "a list of conditions is not in the subset"),
        ("{f: x}", "s\n  t: {f: y}", "the selection 't' is not used"),
        ("{f: x}", "s\n  timeframe: 5m", "'timeframe' is not in the subset"),
    ],
)
def test_what_is_outside_the_subset_is_refused_with_its_place(
    selection: str, condition: str, said: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        rule(selection, condition)
    assert said in str(caught.value)
    assert all(problem.position.line > 0 for problem in caught.value.problems)


CORRELATION = """\
title: t
name: c.d
level: high
correlation:
  type: event_count
  rules: [a.b]
  group-by: [subject]
  timespan: 10m
  condition: {gte: 3}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("event_count", "temporal_ordered", "the correlation 'temporal_ordered' is not in the subset"),
        ("timespan: 10m", "timespan: 10 minutes", "must be like 30s, 10m, 2h or 7d"),
        ("timespan: 10m", "timespan: 99d", "longer than 30 days"),
        ("{gte: 3}", "{lte: 3}", "only one of 'gt' and 'gte' can be awaited"),
        ("{gte: 3}", "{gte: 0}", "a number from 1 to 200"),
        ("{gte: 3}", "{gte: 3, lt: 9}", "only one of 'gt' and 'gte'"),
        ("event_count", "value_count", "'field' must be a text"),
        ("event_count", "temporal", "needs two rules at least"),
        ("group-by", "aliases: {}\n  group-by", "'aliases' is not in the subset"),
    ],
)
def test_a_correlation_outside_the_subset_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_rules(CORRELATION.replace(old, new), file="f.yaml")
    assert said in str(caught.value)


SCHOOLKEEPER = (
    "schoolkeeper: {audience: safeguarding, subject: user, category: x, headline: h, explanation: e}\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE.format(selection="{rule.rule_idd: x}", condition="s"), "did you mean 'rule.rule_id'?"),
        (RULE.format(selection="{f: x}", condition="s").replace("n.refused", "n.refuse"), "application.refused"),
        (RULE.format(selection="{kind: x}", condition="s").replace("schoolkeeper,", "win,"), "log source is 'win'"),
        (CORRELATION.replace("[a.b]", "[nobody]"), "'nobody' is no plain rule"),
        (CORRELATION.replace("[subject]", "[device]"), "needs 'subject' in group-by"),
        (CORRELATION.replace("[subject]", "[subject, colour]"), "'colour'"),
    ],
)  # fmt: skip
def test_a_rule_that_could_never_fire_is_an_error(text: str, said: str) -> None:
    base = RULE.format(selection="{kind: x}", condition="s") + SCHOOLKEEPER
    files = {"f.yaml": text + SCHOOLKEEPER} | ({"base.yaml": base} if "c.d" in text else {})
    with pytest.raises(PolicyError) as caught:
        rules_of_texts(files)
    assert said in str(caught.value)


def test_two_rules_of_one_name_are_an_error() -> None:
    text = RULE.format(selection="{kind: x}", condition="s") + SCHOOLKEEPER
    with pytest.raises(PolicyError, match=r"'a\.b' is already there, in a\.yaml"):
        rules_of_texts({"a.yaml": text, "b.yaml": text})


def test_sealed_words_cannot_be_asked_about() -> None:
    words = model.SealedField(scheme=model.SealingScheme.COLLECTOR, ciphertext=b"secret", category="report")
    event = model.Event(
        id=model.EventId(b"1" * 16),
        wall_unix_ms=0,
        monotonic_ms=0,
        boot_id=b"",
        body=model.PersonReport(recipient="dsl", words=words),
    )
    record = EventRecord(event, b"d" * 16)
    assert record.get("words.category") == "report"
    for field in (
        "words",
        "words.ciphertext",
        "words.wraps",
        "words.nonce",
        "KIND",
        "__class__",
        "words.__class__",
    ):
        assert record.get(field) is None, field
    assert not {name for name in fields_of("person.report") or () if "cipher" in name or "wrap" in name}


def test_every_field_of_every_kind_can_be_read() -> None:
    event = model.Event(
        id=model.EventId(b"1" * 16),
        wall_unix_ms=0,
        monotonic_ms=0,
        boot_id=b"",
        user=model.UserRef(pseudonym=b"\xab" * 16, kind=model.UserKind.PERSON),
        body=model.ApplicationRefused(
            application=model.Application(path="/x", sha256=b"\x01"), rule=model.RuleRef(rule_id="r")
        ),
    )
    record = EventRecord(event, b"d" * 16, "ks2")
    for name in fields_of("application.refused") or ():
        record.get(name)
    assert record.get("application.sha256") == "01"
    assert record.get("rule.decision") == "unspecified"
    assert record.get("subject") == "user:" + "ab" * 16
    assert record.get("group") == "ks2"
    fact = FactRecord("gap.opened", b"d" * 16, {"a": {"b": [1, 2]}, "odd": object()})
    assert fact.get("a.b") == (1, 2)
    assert (fact.get("a.c"), fact.get("odd"), fact.get("a.b.c")) == (None, None, None)


FOREIGN = r"""title: A known tool
logsource: {product: windows, category: process_creation}
detection:
  selection:
    Image|endswith: '\tool.exe'
  condition: selection
"""


def test_a_published_rule_needs_no_name_and_no_level_but_a_packs_rule_does() -> None:
    """The Sigma specification wants title, log source and detection alone."""
    rules = read_match_rules(FOREIGN, file="f.yml")
    assert list(rules.take(JsonRecord({"Image": r"C:\x\tool.exe"}), reference="1")) == ["A known tool"]
    assert list(rules.take(JsonRecord({"Image": r"C:\x\other.exe"}), reference="2")) == []
    with pytest.raises(PolicyError) as caught:
        parse_rules(FOREIGN, file="f.yml")
    assert {problem.reason for problem in caught.value.problems} == {
        "the rule has neither 'name' nor 'id'",
        "'level' must be a text",
    }
