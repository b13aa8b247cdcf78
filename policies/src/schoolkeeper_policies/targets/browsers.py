"""The browsers' part of every export: rules that hold always go through the renderer that devices use, too.

What a rule is called by the browsers' makers is in ``schoolkeeper_proto.browser_policies``; here is noted what became
of each rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from schoolkeeper_policies.targets.common import Notes, Policy, portable
from schoolkeeper_proto import browser_policies, policy
from schoolkeeper_proto.browser_policies import Settings, Value, edge
from schoolkeeper_proto.browser_sites import Lists, Said, said_of
from schoolkeeper_proto.browser_sites import lists as _lists

__all__ = ["Lists", "Settings", "Value", "chromium", "edge", "firefox", "lists", "note_firefox", "settings"]


def _always(held: Policy, notes: Notes) -> policy.BrowserSection:
    """The rules that hold always; of the others it is noted why they are left out."""
    section = held.section(policy.BrowserSection)
    if section is None:
        return policy.BrowserSection()
    return replace(section, rules=tuple(portable(section.rules, notes)), settings=settings(held, notes))


def settings(held: Policy, notes: Notes) -> tuple[policy.BrowserRule, ...]:
    """The settings that hold always; a later one overrides an earlier one."""
    section = held.section(policy.BrowserSection)
    return tuple(portable(section.settings, notes)) if section is not None else ()


def lists(held: Policy, notes: Notes) -> Lists:
    """The site rules that hold always, for a system on which what is allowed goes before what is blocked."""
    section = _always(held, notes)
    _note(said_of(section), notes)
    found = _lists(section, narrow_wins=False)
    _note_length(section, found, notes)
    return found


def chromium(held: Policy, notes: Notes) -> Settings:
    """Policies of Chromium, Google Chrome and ChromeOS."""
    section = _always(held, notes)
    _note(said_of(section), notes)
    _note_length(section, _lists(section, narrow_wins=True), notes)
    for rule in section.settings:
        notes.exported(rule.text.rule_id, "policies of Chrome, Edge and Firefox")
    return browser_policies.chromium(section)


def firefox(held: Policy) -> Settings:
    """Mozilla's ``policies`` object. What is left out of it is noted by ``chromium``, which every export asks first."""
    return browser_policies.firefox(_always(held, Notes()))


def note_firefox(held: Policy, notes: Notes) -> None:
    """What Firefox has no policy for, where a rule asks for it."""
    _note(browser_policies.missing_in_firefox(_always(held, Notes())), notes)


def _note(said: Iterable[Said], notes: Notes) -> None:
    for one in said:
        (notes.exported if one.carried else notes.not_possible)(one.rule_id, one.note)


def _note_length(section: policy.BrowserSection, found: Lists, notes: Notes) -> None:
    """Browsers read so many entries and no more: which rule's sites those are is not told apart."""
    if not found.left_out:
        return
    for rule in section.rules:
        notes.not_possible(
            rule.text.rule_id,
            f"{found.left_out} blocked addresses of all rules together: a browser's list ends before them",
        )
