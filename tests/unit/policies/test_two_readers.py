"""libyaml's reader and ruamel.yaml's: the same values, the same places, the same errors, whichever is installed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from schoolkeeper_policies import libyaml
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.source import read_all

SHIPPED = sorted(Path(str(resources.files("schoolkeeper_policies"))).rglob("*.yaml"))
AWKWARD = (
    "",
    "# nothing but words\n",
    "a:\n",
    "a: \n# words\nb: 1\n",
    "a: !\n",
    "a: !!str 1\n",
    "a: &x 1\nb: *x\n",
    "a: >-\n  one\n  two\n\n  three\n",
    "a: |\n  one\n   two\n",
    ">-\n#1",
    " >-\n#1",
    ">#",
    "a: '#1'\n",
    "a: 1:30\nb: 0o7\nc: 010\nd: yes\ne: on\nf: 1e3\ng: .inf\nh: 2026-09-01\ni: ~\nj: =\n",
    "<<: {a: 1}\n",
    "? a\n: b\n",
    "{a:1}\n",
    "[a:b, http://x?y, 'it''s', \"\\u00e9\\n\"]\n",
    "a: é\nb: \U0001f600: x\n",
    "a: \U0001f600 x # y\nbb: [1, 2]\n",
    "a: 1\r\nb: 2\r\n",
    "a: 1\rb: 2\r",
    "a: x\u2028b: y\n",
    "a: x\x85b: y\n",
    "a:\tb\n",
    "a: 1\n---\nb: 2\n...\n",
    "%YAML 1.1\n---\na: yes\n",
    "a: 1\na: 2\n",
    "a: b: c\n",
    "a: @x\n",
    "a: 'open\n",
    "- - - 1\n  - 2\n",
)


def outcome(text: str) -> object:
    try:
        return [(one.value, one.keys, one.values) for one in read_all(text, file="f.yaml")]
    except PolicyError as error:
        return [str(problem) for problem in error.problems]


def both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    quick = outcome(text)
    with monkeypatch.context() as without:
        without.setattr(libyaml, "CLoader", None)
        assert libyaml.compose_all(text) is None
        return quick, outcome(text)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_is_shipped_reads_the_same_and_quickly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not libyaml.available():
        pytest.skip("PyYAML is not here, or was built without libyaml")
    text = path.read_text()
    assert libyaml.compose_all(text) is not None, "this file takes the slow way"
    quick, slow = both(text, monkeypatch)
    assert quick == slow


@pytest.mark.parametrize("text", AWKWARD)
def test_what_is_awkward_reads_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = both(text, monkeypatch)
    assert quick == slow


def test_a_plain_word_is_never_what_yaml_1_1_takes_it_for() -> None:
    (document,) = read_all("a: yes\nb: 10:30\nc: off\nd: true\n", file="f.yaml")
    assert document.value == {"a": "yes", "b": "10:30", "c": "off", "d": True}
