"""Who is asked to agree to the rules and when, and what is remembered of it; pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_agent.agreeing.deciding import (
    AGAIN_MS,
    ALLOWED,
    DAY_MS,
    Asked,
    Kept,
    Next,
    Refused,
    due,
    holds,
    of,
    said,
)
from schoolkeeper_agent.agreeing.kept import MOST_KEPT, decode, encode
from schoolkeeper_agent.session.agreeing_lines import By, Said, Why
from schoolkeeper_proto import model

ASKED = Asked(
    document="acceptable-use", version="2026-09/abc", band="ks2", by_adult=False,
    texts=(("en", b"e" * 32), ("cy", b"c" * 32)), again_after_days=366,
)  # fmt: skip
NEW = of(ASKED, None, b"p" * 16)
NOW = 1_795_000_000_000


def shown(kept: Kept = NEW, now: int = NOW, asked: Asked = ASKED) -> Next:
    return said(asked, kept, Said.SHOWN, By.SELF, "en", now)


def agreed(kept: Kept, now: int = NOW, by: By = By.SELF, asked: Asked = ASKED) -> Next:
    return said(asked, kept, Said.AGREE, by, "cy", now)


def later(kept: Kept, now: int = NOW) -> Next:
    return said(ASKED, kept, Said.LATER, By.SELF, "en", now)


def test_what_was_shown_and_agreed_to_is_told_with_its_version_its_words_and_the_age_band() -> None:
    first = shown()
    assert first.body == model.AcceptableUseShown(
        document="acceptable-use", document_version="2026-09/abc", age_band="ks2", language="en",
        text_sha256=b"e" * 32,
    )  # fmt: skip
    then = agreed(first.kept)
    assert then.body == model.AcceptableUseAccepted(
        document="acceptable-use", document_version="2026-09/abc", accepted_by="self", age_band="ks2",
        language="cy", text_sha256=b"c" * 32,
    )  # fmt: skip
    assert holds(ASKED, then.kept, NOW)
    assert not due(ASKED, then.kept, NOW)


def test_the_same_said_twice_is_one() -> None:
    first = shown()
    assert shown(first.kept, NOW + 60_000).body is None
    put_off = later(first.kept)
    assert put_off.body is not None
    assert later(put_off.kept, NOW + 1).body is None
    then = agreed(put_off.kept, NOW + 2)
    assert then.body is not None
    for after in (agreed(then.kept, NOW + 3), later(then.kept, NOW + 3), shown(then.kept, NOW + AGAIN_MS)):
        assert after == Next(kept=then.kept)


def test_a_new_version_leaves_nothing_agreed_and_nothing_put_off() -> None:
    kept = agreed(shown().kept).kept
    changed = replace(ASKED, version="2026-09/def")
    fresh = of(changed, kept, kept.person)
    assert not holds(changed, fresh, NOW)
    assert due(changed, fresh, NOW)
    assert of(ASKED, kept, kept.person) is kept


def test_it_is_asked_for_again_after_the_school_s_days_and_not_before() -> None:
    kept = agreed(shown().kept).kept
    assert holds(ASKED, kept, NOW + 366 * DAY_MS - 1)
    assert due(ASKED, kept, NOW + 366 * DAY_MS)
    assert holds(replace(ASKED, again_after_days=0), kept, NOW + 9_000 * DAY_MS)
    assert holds(ASKED, kept, NOW - 9_000 * DAY_MS), "a clock that was set back"
    again = agreed(shown(kept, NOW + 366 * DAY_MS).kept, NOW + 366 * DAY_MS)
    assert again.body is not None


def test_putting_off_has_a_limit_that_is_told_and_that_locks_nothing() -> None:
    kept, now = NEW, NOW
    for times in range(1, ALLOWED + 3):
        assert due(ASKED, kept, now)
        put_off = later(shown(kept, now).kept, now)
        kept = put_off.kept
        assert put_off.body == model.AcceptableUseDeferred(
            document="acceptable-use", document_version="2026-09/abc", age_band="ks2", times=times, allowed=ALLOWED,
        )  # fmt: skip
        assert not due(ASKED, kept, now + AGAIN_MS - 1), "nobody is asked twice on one day"
        now += AGAIN_MS
    assert agreed(shown(kept, now).kept, now).kept.put_off == 0


def test_for_the_youngest_an_adult_agrees_and_nobody_else() -> None:
    youngest = replace(ASKED, band="ks1", by_adult=True)
    kept = shown(asked=youngest).kept
    with pytest.raises(Refused) as refused:
        agreed(kept, asked=youngest)
    assert refused.value.why is Why.WHO
    for by in (By.STAFF, By.PARENT):
        body = agreed(kept, by=by, asked=youngest).body
        assert isinstance(body, model.AcceptableUseAccepted)
        assert body.accepted_by == by
    with pytest.raises(Refused):
        agreed(shown().kept, by=By.STAFF)


def test_nobody_agrees_to_what_was_not_shown_or_in_a_language_that_is_not_there() -> None:
    for what in (Said.AGREE, Said.LATER):
        with pytest.raises(Refused) as refused:
            said(ASKED, NEW, what, By.SELF, "en", NOW)
        assert refused.value.why is Why.NOT_SHOWN
    with pytest.raises(Refused) as refused:
        said(ASKED, NEW, Said.SHOWN, By.SELF, "fr", NOW)
    assert refused.value.why is Why.CHANGED


def test_the_note_is_read_as_it_was_written_and_bounded() -> None:
    kept = agreed(later(shown().kept).kept).kept
    assert decode(encode([kept])) == {kept.person: kept}
    assert decode(b"") == decode(b"{") == decode(b'[["zz"]]') == {}
    many = [
        replace(kept, person=n.to_bytes(16, "big"), shown_ms=n, agreed_ms=n) for n in range(MOST_KEPT + 5)
    ]
    left = decode(encode(many))
    assert len(left) == MOST_KEPT
    assert (0).to_bytes(16, "big") not in left
