"""Who is asked to agree to the rules: compared. The agreement's text follows the rules, and those are compared."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies.comparing.change import Aspect, Change, Direction, together
from schoolkeeper_policies.comparing.rules import change_of, unlike
from schoolkeeper_policies.comparing.sections import one_change
from schoolkeeper_proto.policy import AgreementSection


def compare_agreement(
    group: str, old: AgreementSection | None, new: AgreementSection | None
) -> Iterator[Change]:
    """Asking fewer people, more seldom, or an adult in somebody's place is weaker; a new version asks all again.

    No rule hangs on whether somebody agreed, so none of it is a matter of safeguarding.
    """
    if old == new:
        return
    if old is None or new is None:
        held = old or new
        assert held is not None
        direction = Direction.STRICTER if old is None else Direction.WEAKER
        yield one_change("agreement", group, held.document, old is None, direction, False, _said(held))
        return
    direction = together(_directions(old, new))
    why = "who is asked to agree to the rules, and how often"
    aspect = Aspect(direction=direction, before=_said(old), after=_said(new), why=why)
    yield change_of("agreement", group, new.document, [aspect], False)


def _directions(old: AgreementSection, new: AgreementSection) -> Iterator[Direction]:
    for name in unlike(old, new):
        match name:
            case "bands":
                yield _sets(new.bands, old.bands)
            case "adult_accepts":
                yield _sets(old.adult_accepts, new.adult_accepts)
            case "again_after_days":
                seldom = (new.again_after_days or 1 << 30) > (old.again_after_days or 1 << 30)
                yield Direction.WEAKER if seldom else Direction.STRICTER
            case "version":
                yield Direction.WORDS
            case _:
                yield Direction.DIFFERENT


def _sets(more: tuple[str, ...], fewer: tuple[str, ...]) -> Direction:
    """STRICTER where ``more`` holds all of ``fewer``, WEAKER where it is the other way round."""
    if set(more) == set(fewer):
        return Direction.WORDS
    if set(more) > set(fewer):
        return Direction.STRICTER
    return Direction.WEAKER if set(more) < set(fewer) else Direction.DIFFERENT


def _said(section: AgreementSection) -> str:
    again = f", again after {section.again_after_days} days" if section.again_after_days else ""
    by_adult = f", by an adult for {', '.join(section.adult_accepts)}" if section.adult_accepts else ""
    devices = f", the devices are for {section.band_of_group}" if section.band_of_group else ""
    return f"version {section.version}, asks {', '.join(section.bands)}{by_adult}{again}{devices}"
