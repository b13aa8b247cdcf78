"""What is rendered for browsers says what the device's own engine decides: nothing that it refuses is open.

The two judges below are written from the browsers' documentation and know nothing of the renderer: Chromium's filter
format (the narrower filter counts, then the allowed one), and Mozilla's website filter (what is allowed counts).
"""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_policies import Settings, chromium, firefox
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.site_matching import SiteTable

HOSTS = ("a.test", "www.a.test", "x.a.test", "b.test", "y.b.test")
PATHS = ("", "/p", "/p/q", "/r")
ADDRESSES = tuple(host + path for host in (*HOSTS, "other.test") for path in PATHS)
SITES = st.sampled_from([host + path for host in HOSTS for path in PATHS] + ["*"])
KINDS = st.sampled_from([DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE, DecisionKind.ALLOW])
NOW = Circumstances(now_ms=0)


@st.composite
def sections(draw: st.DrawFn) -> policy.BrowserSection:
    rules = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(KINDS)
        allowed = draw(st.lists(SITES.filter(lambda site: site != "*"), max_size=3))
        rules.append(
            policy.SiteRule(
                text=policy.RuleText(rule_id=f"r{number}"),
                decision=kind,
                sites=tuple(draw(st.lists(SITES, min_size=1, max_size=3))),
                allowed=tuple(allowed) if kind is not DecisionKind.ALLOW else (),
            )
        )
    otherwise = draw(st.sampled_from([DecisionKind.ALLOW, DecisionKind.BLOCK]))
    return policy.BrowserSection(rules=tuple(rules), otherwise=otherwise)


def engine_refuses(section: policy.BrowserSection, address: str) -> bool:
    return SiteTable(section).decide(address, NOW).refuses


def chromium_refuses(settings: Settings, address: str) -> bool:
    host, _, path = address.partition("/")
    best: tuple[bool, bool, int, int, bool] | None = None
    for name, allows in (("URLBlocklist", False), ("URLAllowlist", True)):
        filters = settings.get(name, [])
        assert isinstance(filters, list)
        for one in filters:
            held, _, below = one.partition("/")
            exact, bare = held.startswith("."), held.lstrip(".")
            here = held == "*" or bare == host or (not exact and host.endswith(f".{bare}"))
            if here and path.startswith(below):
                rank = (held != "*", exact, len(bare), len(below), allows)
                best = rank if best is None else max(best, rank)
    return best is not None and not best[4]


def firefox_refuses(settings: Settings, address: str) -> bool:
    held = settings.get("WebsiteFilter", {})
    assert isinstance(held, dict)

    def matches(name: str) -> bool:
        patterns = held.get(name, [])
        assert isinstance(patterns, list)
        return any(_matches(pattern, address) for pattern in patterns)

    return matches("Block") and not matches("Exceptions")


def _matches(pattern: str, address: str) -> bool:
    """MDN, match patterns: ``*://HOST/PATH``, ``*.`` before a host is the host and all below it."""
    if pattern == "<all_urls>":
        return True
    host, _, path = address.partition("/")
    held, _, below = pattern.removeprefix("*://").partition("/")
    bare = held.removeprefix("*.")
    here = host == bare or (held != bare and host.endswith(f".{bare}"))
    assert below.endswith("*")
    return here and path.startswith(below[:-1])


@given(sections())
def test_chromium_refuses_exactly_what_the_device_refuses(section: policy.BrowserSection) -> None:
    settings = chromium(section)
    for address in ADDRESSES:
        refused = engine_refuses(section, address)
        event(f"refused: {refused}")
        assert chromium_refuses(settings, address) == refused, (address, settings)


@given(sections())
def test_firefox_opens_nothing_that_the_device_refuses(section: policy.BrowserSection) -> None:
    settings = firefox(section)
    for address in ADDRESSES:
        if engine_refuses(section, address):
            assert firefox_refuses(settings, address), (address, settings)
