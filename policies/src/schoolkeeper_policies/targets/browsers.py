"""What browsers are told, by the names that their makers publish: one table, used by every platform.

Sources: the Chrome Enterprise policy list, the Microsoft Edge policy reference, Mozilla's policy templates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from schoolkeeper_policies.targets.common import FORBIDS, Notes, Policy, portable
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind

Value = bool | int | str | list[str] | dict[str, "Value"]
Settings = dict[str, Value]


@dataclass(slots=True)
class Lists:
    """Sites by what they get. ``everything`` says whether all that is not allowed is blocked."""

    block: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)

    @property
    def everything(self) -> bool:
        return "*" in self.block


def lists(held: Policy, notes: Notes) -> Lists:
    """The site rules that hold always, flattened to two lists; the first rule of a site wins, as on our devices."""
    found = Lists()
    section = held.section(policy.BrowserSection)
    if section is None:
        return found
    categories = {category.name: category for category in section.categories}
    left_out: list[str] = []
    for rule in portable(section.rules, notes):
        sites = [*rule.sites, *(site for name in rule.categories for site in _sites(categories, name))]
        if rule.decision in FORBIDS:
            found.block += [site for site in sites if site not in found.allow]
            left_out += rule.allowed
        elif rule.decision is DecisionKind.ALLOW:
            found.allow += [site for site in sites if site not in found.block]
        else:
            notes.not_possible(rule.text.rule_id, f"browsers have no setting for {rule.decision.value!r}")
            continue
        partial = [
            name for name in rule.categories if name in categories and categories[name].filter_knows_more
        ]
        notes.exported(rule.text.rule_id, f"{len(sites)} addresses in the browsers' own lists")
        if partial:
            notes.not_possible(
                rule.text.rule_id, f"sites of {', '.join(partial)} that only the school's web filter knows"
            )
    if section.otherwise in FORBIDS and "*" not in found.block:
        found.block.append("*")
    # A browser's list of allowed sites goes before its other one: what another rule refuses is not put on it.
    found.allow += [site for site in left_out if not _refused(site, found.block)]
    found.block, found.allow = list(dict.fromkeys(found.block)), list(dict.fromkeys(found.allow))
    return found


def _refused(site: str, block: list[str]) -> bool:
    """Whether a rule refuses the site, or something that begins as it does, by name and not with all others."""
    host = site.partition("/")[0]
    hosts = [other.partition("/")[0] for other in block if other != "*"]
    return any(host == other or host.endswith(f".{other}") or other.endswith(f".{host}") for other in hosts)


def _sites(categories: dict[str, policy.SiteCategory], name: str) -> tuple[str, ...]:
    return categories[name].sites if name in categories else ()


def settings(held: Policy, notes: Notes) -> list[policy.BrowserRule]:
    """The settings that hold always; a later one overrides an earlier one."""
    section = held.section(policy.BrowserSection)
    return list(portable(section.settings, notes)) if section is not None else []


def chromium(held: Policy, notes: Notes) -> Settings:
    """Policies of Chromium, Google Chrome and ChromeOS."""
    found: Settings = {}
    sites = lists(held, notes)
    if sites.block:
        found["URLBlocklist"] = list(sites.block)
    if sites.allow:
        found["URLAllowlist"] = list(sites.allow)
    for rule in settings(held, notes):
        found |= _chromium(rule)
        notes.exported(rule.text.rule_id, "policies of Chrome, Edge and Firefox")
    return dict(sorted(found.items()))


def _chromium(rule: policy.BrowserRule) -> Settings:
    found: Settings = {}
    match rule.safe_search:
        case policy.SafeSearch.STRICT | policy.SafeSearch.MODERATE:
            found["ForceGoogleSafeSearch"] = True
            found["ForceYouTubeRestrict"] = 2 if rule.safe_search is policy.SafeSearch.STRICT else 1
        case policy.SafeSearch.OFF:
            found["ForceGoogleSafeSearch"], found["ForceYouTubeRestrict"] = False, 0
        case policy.SafeSearch.UNSPECIFIED:
            pass
        case _:
            assert_never(rule.safe_search)
    if rule.search_engine:
        found["DefaultSearchProviderEnabled"] = True
        found["DefaultSearchProviderSearchURL"] = rule.search_engine.replace("%s", "{searchTerms}")
    if rule.home_page:
        found["HomepageLocation"], found["HomepageIsNewTabPage"] = rule.home_page, False
    for name, switch, allowed, blocked in (
        ("IncognitoModeAvailability", rule.private_windows, 0, 1),
        ("BrowserGuestModeEnabled", rule.guest_profiles, True, False),
        ("DeveloperToolsAvailability", rule.developer_tools, 1, 2),
        ("DnsOverHttpsMode", rule.own_name_servers, "automatic", "off"),
        ("SyncDisabled", rule.synchronisation, False, True),
        ("PasswordManagerEnabled", rule.password_saving, True, False),
        ("DownloadRestrictions", rule.downloads, 0, 3),
    ):
        if switch is not policy.Switch.UNSPECIFIED:
            found[name] = allowed if switch is policy.Switch.ALLOWED else blocked
    if rule.extensions is policy.Switch.BLOCKED:
        found["ExtensionInstallBlocklist"] = ["*"]
        if rule.allowed_extensions:
            found["ExtensionInstallAllowlist"] = list(rule.allowed_extensions)
    return found


def edge(chrome: Settings) -> Settings:
    """The same for Microsoft Edge, whose names differ in few places."""
    found = {_EDGE_NAMES.get(name, name): value for name, value in chrome.items()}
    if chrome.get("ForceGoogleSafeSearch") is True:
        found["ForceBingSafeSearch"] = 2 if chrome["ForceYouTubeRestrict"] == 2 else 1
    return dict(sorted(found.items()))


_EDGE_NAMES = {"IncognitoModeAvailability": "InPrivateModeAvailability"}


def firefox(held: Policy) -> Settings:
    """Mozilla's ``policies`` object. What is left out of it is noted by ``chromium``, which every export asks first."""
    found: Settings = {}
    quiet = Notes()
    sites = lists(held, quiet)
    if sites.block:
        blocked = ["<all_urls>"] if sites.everything else [p for s in sites.block for p in _patterns(s)]
        site_filter: dict[str, Value] = {"Block": blocked}
        if sites.allow:
            site_filter["Exceptions"] = [p for s in sites.allow for p in _patterns(s)]
        found["WebsiteFilter"] = site_filter
    for rule in settings(held, quiet):
        found |= _firefox(rule)
    return dict(sorted(found.items()))


def _patterns(site: str) -> list[str]:
    host, _, path = site.partition("/")
    return [f"*://{host}/{path}*", f"*://*.{host}/{path}*"]


def _firefox(rule: policy.BrowserRule) -> Settings:
    found: Settings = {}
    if rule.home_page:
        found["Homepage"] = {"URL": rule.home_page, "Locked": True, "StartPage": "homepage-locked"}
    if rule.private_windows is not policy.Switch.UNSPECIFIED:
        found["DisablePrivateBrowsing"] = rule.private_windows is policy.Switch.BLOCKED
    if rule.developer_tools is policy.Switch.BLOCKED:
        found |= {"DisableDeveloperTools": True, "BlockAboutConfig": True}
    if rule.own_name_servers is policy.Switch.BLOCKED:
        found["DNSOverHTTPS"] = {"Enabled": False, "Locked": True}
    if rule.synchronisation is policy.Switch.BLOCKED:
        found["DisableFirefoxAccounts"] = True
    if rule.password_saving is not policy.Switch.UNSPECIFIED:
        found["PasswordManagerEnabled"] = rule.password_saving is policy.Switch.ALLOWED
    if rule.extensions is policy.Switch.BLOCKED:
        allowed: dict[str, Value] = {
            name: {"installation_mode": "allowed"} for name in rule.allowed_extensions
        }
        found["ExtensionSettings"] = {"*": {"installation_mode": "blocked"}, **allowed}
    return found


def note_firefox(held: Policy, notes: Notes) -> None:
    """What Firefox has no policy for, where a rule asks for it."""
    for rule in settings(held, Notes()):
        missing = [
            word
            for there, word in (
                (rule.safe_search in (policy.SafeSearch.STRICT, policy.SafeSearch.MODERATE), "safe search"),
                (rule.downloads is policy.Switch.BLOCKED, "downloads"),
                (rule.search_engine, "the search engine"),
            )
            if there
        ]
        if missing:
            notes.not_possible(
                rule.text.rule_id, f"{', '.join(missing)} in Firefox, which has no policy for it"
            )
