"""A policy with something of everything, for the exporters: made of sections, so that no pack's change alters it."""

from __future__ import annotations

from schoolkeeper_policies.targets.common import Policy
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode, Switch

LESSONS = policy.Applicability(
    times=(policy.TimeWindow(weekdays=31, from_minute=540, to_minute=930),), time_zone="Europe/London"
)
HASH = "ab" * 32


def text(rule_id: str, mode: RuleMode = RuleMode.ENFORCE) -> policy.RuleText:
    return policy.RuleText(
        rule_id=rule_id, description=f"The rule {rule_id} & more.", resolution="Ask in the office.", mode=mode
    )


def _application(rule_id: str, *matches: tuple[MatchBy, str], **more: object) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=text(rule_id),
        decision=DecisionKind.BLOCK,
        matches=tuple(policy.ApplicationMatch(by=by, text=said) for by, said in matches),
        **more,  # type: ignore[arg-type]
    )


APPLICATIONS = policy.ApplicationsSection(
    rules=(
        _application("bypass.tor", (MatchBy.FILE_NAME, "tor"), (MatchBy.PATH, "/usr/bin/tor")),
        _application("virus", (MatchBy.SHA256, HASH)),
        _application("games", (MatchBy.FILE_NAME, "steam"), when=LESSONS),
    )
)
STICKS = policy.MediaRule(text=text("media"), access=MediaAccess.ENCRYPTED_ONLY)
OFFICE_STICK = policy.MediaRule(
    text=text("media.office"), access=MediaAccess.ALLOW, serials=('4C"53',), vendor_products=("0781:5581",)
)
SCREEN = policy.ScreenSection(text=text("screen"), idle_lock_seconds=450, warn_seconds=30)
BROWSER = policy.BrowserSection(
    rules=(
        policy.SiteRule(
            text=text("web.homework"), decision=DecisionKind.ALLOW, sites=("games.example/maths",)
        ),
        policy.SiteRule(
            text=text("web.games"),
            decision=DecisionKind.BLOCK,
            categories=("games",),
            allowed=("games.example/maths",),
        ),
        policy.SiteRule(
            text=text("web.chat"), decision=DecisionKind.BLOCK, sites=("chat.example",), when=LESSONS
        ),
    ),
    categories=(policy.SiteCategory(name="games", sites=("games.example",), filter_knows_more=True),),
    settings=(
        policy.BrowserRule(
            text=text("web.settings"),
            safe_search=policy.SafeSearch.STRICT,
            search_engine="https://search.example/?q=%s",
            home_page="https://school.example/",
            private_windows=Switch.BLOCKED,
            guest_profiles=Switch.BLOCKED,
            developer_tools=Switch.BLOCKED,
            own_name_servers=Switch.BLOCKED,
            synchronisation=Switch.BLOCKED,
            password_saving=Switch.BLOCKED,
            downloads=Switch.ALLOWED,
            extensions=Switch.BLOCKED,
            allowed_extensions=("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",),
            proxy="proxy.school.example:3128",
        ),
    ),
)
NETWORK = policy.NetworkSection(
    rules=tuple(
        policy.NetworkRule(text=text(f"network.{use.value}"), use=use, decision=DecisionKind.BLOCK)
        for use in policy.NetworkUse
        if use is not policy.NetworkUse.UNSPECIFIED
    )
)
PERIPHERALS = policy.PeripheralsSection(
    rules=tuple(
        policy.PeripheralRule(text=text(f"peripheral.{kind.value}"), kind=kind, decision=DecisionKind.BLOCK)
        for kind in policy.PeripheralKind
        if kind is not policy.PeripheralKind.UNSPECIFIED
    )
)
POSTURE = policy.PostureSection(checks=(policy.PostureCheck(check="antivirus", every_seconds=3600),))


def rich_policy(*instead: policy.Section) -> Policy:
    """One of everything; ``instead`` replaces the sections of the same kind."""
    held: dict[type, policy.Section] = {
        type(section): section
        for section in (
            APPLICATIONS,
            policy.MediaSection(rules=(OFFICE_STICK, STICKS)),
            SCREEN,
            POSTURE,
            BROWSER,
            NETWORK,
            PERIPHERALS,
            *instead,
        )
    }
    return Policy(school="lab.example", group="ks2-laptops", sections=tuple(held.values()))


def media(access: MediaAccess, **more: MediaAccess) -> policy.MediaSection:
    return policy.MediaSection(rules=(policy.MediaRule(text=text("media"), access=access, **more),))
