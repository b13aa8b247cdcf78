"""A short run of every fuzz target from mutated good inputs; `make fuzz` runs the long one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fuzz.register_targets import register_targets
from support.fuzz.targets import Target, proto_targets
from support.fuzz.trust_targets import trust_targets

TARGETS = (*proto_targets(), *trust_targets(), *register_targets())


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A good input with a stretch of it replaced, cut or repeated."""
    seed = draw(st.sampled_from(seeds))
    start = draw(st.integers(0, len(seed)))
    end = draw(st.integers(start, min(len(seed), start + 64)))
    middle = draw(st.one_of(st.binary(max_size=16), st.just(seed[start:end] * 2), st.just(b"")))
    return seed[:start] + middle + seed[end:]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_good_input_is_read(target: Target) -> None:
    for seed in target.seeds[:1]:
        target.survives(seed)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_mutated_input_gives_a_value_or_a_named_error(target: Target) -> None:
    @settings(max_examples=60, deadline=None)
    @given(mutated(target.seeds))
    def check(data: bytes) -> None:
        target.survives(data)

    check()


def test_a_parser_that_raises_something_else_is_noticed() -> None:
    broken = Target(name="broken", run=lambda data: data[5], errors=(ValueError,), seeds=(b"",))
    with pytest.raises(IndexError):
        broken.survives(b"abc")
