"""Whether somebody is asked to agree to the rules now, and what follows from what they say. Pure.

Times are Unix milliseconds, as far as they can be believed. Nothing hangs on the answer: no program waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from schoolkeeper_agent.session.agreeing_lines import By, Said, Why
from schoolkeeper_proto import model

ALLOWED = 3
"""So often it may be put off before the school is told that it is more than that (W-59). It is asked for as before."""
AGAIN_MS = 20 * 3_600_000
"""Once shown, it is not shown by itself again before the next day."""
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the policy in force asks of somebody. ``by_adult``: an adult agrees, for them or for all of an account.

    ``texts``: language -> SHA-256 of the text. ``again_after_days``: 0 for only when rules or version change.
    """

    document: str
    version: str
    band: str
    by_adult: bool
    texts: tuple[tuple[str, bytes], ...]
    again_after_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is remembered of one person (``person``: their pseudonym) and the last version that they were shown."""

    person: bytes
    document: str
    version: str
    shown_ms: int = 0
    put_off: int = 0
    put_off_ms: int = 0
    agreed_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What to remember and to write down, together; without ``body`` nothing happened that was not known."""

    kept: Kept
    body: model.Body | None = None


class Refused(Exception):
    """Nothing was taken."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


def of(asked: Asked, kept: Kept | None, person: bytes) -> Kept:
    """What is remembered of this version; of another one nothing counts any more."""
    if kept is None or (kept.document, kept.version) != (asked.document, asked.version):
        return Kept(person=person, document=asked.document, version=asked.version)
    return kept


def holds(asked: Asked, kept: Kept, now_ms: int) -> bool:
    """Whether they agreed to what is in force now. A clock that was set back takes nothing away."""
    after = asked.again_after_days * DAY_MS
    return bool(kept.agreed_ms) and (not after or now_ms - kept.agreed_ms < after)


def due(asked: Asked, kept: Kept, now_ms: int) -> bool:
    """Whether it is time to show it unasked."""
    return not holds(asked, kept, now_ms) and not _lately(kept, now_ms)


def said(asked: Asked, kept: Kept, what: Said, by: By, language: str, now_ms: int) -> Next:
    """After ``SHOWN``, ``AGREE`` or ``LATER``; the same said twice is one. Raises ``Refused``."""
    text = dict(asked.texts).get(language)
    if text is None:
        raise Refused(Why.CHANGED)
    if what is Said.SHOWN:
        return _shown(asked, kept, language, text, now_ms)
    if not kept.shown_ms:
        raise Refused(Why.NOT_SHOWN)
    if holds(asked, kept, now_ms):
        return Next(kept=kept)
    if what is Said.LATER:
        return _put_off(asked, kept, now_ms)
    if asked.by_adult is (by is By.SELF):
        raise Refused(Why.WHO)
    body = model.AcceptableUseAccepted(
        document=asked.document,
        document_version=asked.version,
        accepted_by=by.value,
        age_band=asked.band,
        language=language,
        text_sha256=text,
    )
    return Next(kept=replace(kept, agreed_ms=now_ms, put_off=0, put_off_ms=0), body=body)


def _shown(asked: Asked, kept: Kept, language: str, text: bytes, now_ms: int) -> Next:
    """Whoever opens it again the same day only reads it again."""
    if _lately(kept, now_ms) or holds(asked, kept, now_ms):
        return Next(kept=kept)
    body = model.AcceptableUseShown(
        document=asked.document,
        document_version=asked.version,
        age_band=asked.band,
        language=language,
        text_sha256=text,
    )
    return Next(kept=replace(kept, shown_ms=now_ms), body=body)


def _put_off(asked: Asked, kept: Kept, now_ms: int) -> Next:
    """Once for each time that it was shown."""
    if kept.put_off_ms >= kept.shown_ms:
        return Next(kept=kept)
    kept = replace(kept, put_off=kept.put_off + 1, put_off_ms=max(now_ms, kept.shown_ms))
    body = model.AcceptableUseDeferred(
        document=asked.document,
        document_version=asked.version,
        age_band=asked.band,
        times=kept.put_off,
        allowed=ALLOWED,
    )
    return Next(kept=kept, body=body)


def _lately(kept: Kept, now_ms: int) -> bool:
    """A clock that is far off either way makes nobody wait for it."""
    return bool(kept.shown_ms) and abs(now_ms - kept.shown_ms) < AGAIN_MS
