"""What browsers are told, by the names that their makers publish. Pure: rules that hold in, settings out.

Sources: the Chrome Enterprise policy list, the Microsoft Edge policy reference, Mozilla's policy templates. The exports
of a policy and the agent on a device both ask here; there is no second renderer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import assert_never

from schoolkeeper_proto.browser_sites import Entry, Said, lists
from schoolkeeper_proto.policy import BrowserRule, BrowserSection, SafeSearch, Switch

Value = bool | int | str | list[str] | dict[str, "Value"]
Settings = dict[str, Value]


def as_json(value: object) -> bytes:
    """The form of every JSON file: keys in order, so that the same policy gives the same bytes."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def chromium(section: BrowserSection) -> Settings:
    """Policies of Chromium, Google Chrome and ChromeOS. A later setting overrides an earlier one."""
    found: Settings = {}
    sites = lists(section, narrow_wins=True)
    if sites.block:
        found["URLBlocklist"] = [_url_filter(entry) for entry in sites.block]
    if sites.allow:
        found["URLAllowlist"] = [_url_filter(entry) for entry in sites.allow]
    for rule in section.settings:
        found |= _chromium(rule)
    return dict(sorted(found.items()))


def _url_filter(entry: Entry) -> str:
    """A leading dot is the very host, without those below it (Chrome Enterprise: URL blocklist filter format)."""
    return f".{entry}" if entry.path else str(entry)


def _chromium(rule: BrowserRule) -> Settings:
    found: Settings = {}
    match rule.safe_search:
        case SafeSearch.STRICT | SafeSearch.MODERATE:
            found["ForceGoogleSafeSearch"] = True
            found["ForceYouTubeRestrict"] = 2 if rule.safe_search is SafeSearch.STRICT else 1
        case SafeSearch.OFF:
            found["ForceGoogleSafeSearch"], found["ForceYouTubeRestrict"] = False, 0
        case SafeSearch.UNSPECIFIED:
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
        if switch is not Switch.UNSPECIFIED:
            found[name] = allowed if switch is Switch.ALLOWED else blocked
    if rule.proxy:
        found["ProxySettings"] = _chromium_proxy(rule.proxy)
    if rule.extensions is Switch.BLOCKED:
        found["ExtensionInstallBlocklist"] = ["*"]
        if rule.allowed_extensions:
            found["ExtensionInstallAllowlist"] = list(rule.allowed_extensions)
    return found


def _chromium_proxy(proxy: str) -> Settings:
    if proxy in ("direct", "system"):
        return {"ProxyMode": proxy}
    if "://" in proxy:
        return {"ProxyMode": "pac_script", "ProxyPacUrl": proxy, "ProxyPacMandatory": True}
    return {"ProxyMode": "fixed_servers", "ProxyServer": proxy}


def edge(chrome: Settings) -> Settings:
    """The same for Microsoft Edge, whose names differ in few places."""
    found = {_EDGE_NAMES.get(name, name): value for name, value in chrome.items()}
    if chrome.get("ForceGoogleSafeSearch") is True:
        found["ForceBingSafeSearch"] = 2 if chrome["ForceYouTubeRestrict"] == 2 else 1
    return dict(sorted(found.items()))


_EDGE_NAMES = {"IncognitoModeAvailability": "InPrivateModeAvailability"}


def firefox(section: BrowserSection) -> Settings:
    """Mozilla's ``policies`` object."""
    found: Settings = {}
    sites = lists(section, narrow_wins=False)
    if sites.block:
        blocked = ["<all_urls>"] if sites.everything else [_pattern(entry) for entry in sites.block]
        site_filter: dict[str, Value] = {"Block": blocked}
        if sites.allow:
            site_filter["Exceptions"] = [_pattern(entry) for entry in sites.allow]
        found["WebsiteFilter"] = site_filter
    for rule in section.settings:
        found |= _firefox(rule)
    return dict(sorted(found.items()))


def _pattern(entry: Entry) -> str:
    """A match pattern (MDN): ``*.`` is the host itself and all below it."""
    return f"*://{entry.host}/{entry.path}*" if entry.path else f"*://*.{entry.host}/*"


def _firefox(rule: BrowserRule) -> Settings:
    found: Settings = {}
    if rule.home_page:
        found["Homepage"] = {"URL": rule.home_page, "Locked": True, "StartPage": "homepage-locked"}
    if rule.private_windows is not Switch.UNSPECIFIED:
        found["DisablePrivateBrowsing"] = rule.private_windows is Switch.BLOCKED
    if rule.developer_tools is Switch.BLOCKED:
        found |= {"DisableDeveloperTools": True, "BlockAboutConfig": True}
    if rule.own_name_servers is Switch.BLOCKED:
        found["DNSOverHTTPS"] = {"Enabled": False, "Locked": True}
    if rule.synchronisation is Switch.BLOCKED:
        found["DisableFirefoxAccounts"] = True
    if rule.password_saving is not Switch.UNSPECIFIED:
        found["PasswordManagerEnabled"] = rule.password_saving is Switch.ALLOWED
    if rule.proxy:
        found["Proxy"] = {**_firefox_proxy(rule.proxy), "Locked": True}
    if rule.extensions is Switch.BLOCKED:
        allowed: dict[str, Value] = {
            name: {"installation_mode": "allowed"} for name in rule.allowed_extensions
        }
        found["ExtensionSettings"] = {"*": {"installation_mode": "blocked"}, **allowed}
    return found


def _firefox_proxy(proxy: str) -> Settings:
    if proxy in ("direct", "system"):
        return {"Mode": "none" if proxy == "direct" else "system"}
    if "://" in proxy:
        return {"Mode": "autoConfig", "AutoConfigURL": proxy}
    return {"Mode": "manual", "HTTPProxy": proxy, "UseHTTPProxyForAllProtocols": True}


def missing_in_firefox(section: BrowserSection) -> Iterator[Said]:
    """What Firefox has no policy for, where a rule asks for it."""
    for rule in section.settings:
        missing = [
            word
            for there, word in (
                (rule.safe_search in (SafeSearch.STRICT, SafeSearch.MODERATE), "safe search"),
                (rule.downloads is Switch.BLOCKED, "downloads"),
                (rule.search_engine, "the search engine"),
            )
            if there
        ]
        if missing:
            note = f"{', '.join(missing)} in Firefox, which has no policy for it"
            yield Said(rule_id=rule.text.rule_id, carried=False, note=note)
