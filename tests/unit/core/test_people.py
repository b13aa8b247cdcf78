"""People of the school's register on a device: rules for them reach core and guard, sections of no use are named."""

from __future__ import annotations

from schoolkeeper_agent.enforcers.actions import GuardApplications, RefreshApplications
from schoolkeeper_agent.observations import PolicySwapped, SessionSeen
from schoolkeeper_agent.policy_file import not_enforced
from schoolkeeper_proto import bundle, policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.people import account_pseudonym
from support.core_playbook import MONDAY_10, Playbook, bundle_of

KEY = b"k" * 32


def people(**accounts: str) -> policy.PeopleSection:
    return policy.PeopleSection(
        sets=tuple(
            policy.PeopleSet(groups=(group,), members=account_pseudonym(KEY, account)[:8])
            for account, group in accounts.items()
        )
    )


def session(account: str, user_id: int) -> SessionSeen:
    return SessionSeen(
        session_id=account, account=account, user_id=user_id, session_type="x11", groups=frozenset({"users"})
    )


def test_the_guard_learns_the_groups_of_whoever_signs_in_and_again_when_they_change() -> None:
    play = Playbook(bundle_of(people(ann="pupils")), able={"applications"})
    play.sees(session("ann", 1001))
    (refresh,) = [
        e.action for e in play.effects if isinstance(getattr(e, "action", None), RefreshApplications)
    ]
    ((user_id, names),) = refresh.groups
    assert user_id == 1001
    assert {"users", "people:pupils", "people:known"} <= set(names)
    play.effects.clear()
    play.sees(PolicySwapped(bundle=bundle_of(people(ann="staff"))))
    actions = [e.action for e in play.effects if hasattr(e, "action")]
    assert [type(action) for action in actions] == [GuardApplications, RefreshApplications]
    assert "people:staff" in actions[1].groups[0][1]


def test_what_this_agent_does_not_enforce_is_named() -> None:
    text = policy.RuleText(rule_id="a")
    printer = policy.PeripheralRule(
        text=text, kind=policy.PeripheralKind.PRINTER, decision=DecisionKind.BLOCK
    )
    opened = bundle_of(
        policy.PeripheralsSection(rules=(printer,)),
        policy.BrowserSection(
            rules=(policy.SiteRule(text=text, decision=DecisionKind.WARN, sites=("a.example",)),)
        ),
        policy.NetworkSection(),
    )
    assert not_enforced(opened) == (
        "peripherals: nothing comes of a: the agent does not act on this kind, printer",
        "browser: a browser neither observes nor warns, so nothing comes of a",
    )
    assert not_enforced(bundle_of()) == ()


def test_an_agent_of_the_minor_version_before_takes_the_bundle() -> None:
    data = bundle.build(
        school_id="s",
        group="g",
        version=1,
        compiled_at_unix_ms=MONDAY_10,
        sections=(policy.MediaSection(), people(ann="pupils"), policy.SitesSection(), policy.GrantsSection()),
    )
    known = dict(bundle.SECTION_CLASSES)
    try:
        for name in ("people", "sites", "grants"):
            del bundle.SECTION_CLASSES[name, 1]
        opened = bundle.open_bundle(data, school_id="s", group="g", capabilities=frozenset())
    finally:
        bundle.SECTION_CLASSES.clear()
        bundle.SECTION_CLASSES.update(known)
    assert opened.ignored_sections == ("people", "sites", "grants")
    assert len(not_enforced(opened)) == 3
