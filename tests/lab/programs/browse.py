"""`browse.py PACK GROUP LESSON_RULE`: policy, core, enforcer and a real browser together, as lines of JSON.

Runs in namespaces of its own (mounts, network): its /etc is a copy, and names lead to a server on this loopback. What
the pack says of developer tools is left out, because they are what drives the browser here.
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from schoolkeeper_agent import core, observations  # noqa: E402
from schoolkeeper_agent.context import Context  # noqa: E402
from schoolkeeper_agent.enforcers.linux.browsers import BrowserEnforcer  # noqa: E402
from schoolkeeper_agent.seams import Enforce  # noqa: E402
from schoolkeeper_policies.targets.exporters import group_policy  # noqa: E402
from schoolkeeper_proto import policy  # noqa: E402
from schoolkeeper_proto.granted import InForce  # noqa: E402
from schoolkeeper_proto.model import Place  # noqa: E402
from schoolkeeper_proto.wire import GrantKind  # noqa: E402
from support.core_playbook import MONDAY_10, bundle_of  # noqa: E402

OPEN, CLOSED = "http://hitthebutton.co.uk/play", "http://games.test/play"
NAMES = "127.0.0.1 hitthebutton.co.uk games.test\n"
WITHIN = 150


class Page(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - one server

    def do_GET(self) -> None:
        host = self.headers["Host"]
        if self.path != "/favicon.ico":
            self.asked.append(host + self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>it loaded</title>")

    def log_message(self, *_: object) -> None:
        pass


class Device:
    """The core and its enforcer, as the service joins them."""

    def __init__(self, pack: str, group: str) -> None:
        sections = [
            _without_tools(one) for one in group_policy(pack, school="lab.test", group=group).sections
        ]
        bundle = bundle_of(*(one for one in sections if not isinstance(one, policy.CollectionSection)))
        context = Context(bundle=bundle, run_dir=Path(tempfile.mkdtemp()), browser_root=Path("/etc"))
        self.events: list[Any] = []
        self.enforcer = BrowserEnforcer(context, lambda seen: self.events.append(seen))
        self.state = core.initial(bundle, run_id=b"r" * 16, able=frozenset({"browser"}), place=Place.ON_SITE)

    async def sees(self, seen: observations.Observation) -> None:
        self.state, effects = core.handle(self.state, seen, MONDAY_10)
        for effect in effects:
            if isinstance(effect, Enforce):
                outcome = await self.enforcer.perform(effect.action)
                assert outcome.succeeded, outcome.detail
                await self.sees(observations.ActionDone(outcome=outcome))

    async def lesson(self, *rules: str) -> None:
        grant = InForce(
            grant_id=b"g" * 16, kind=GrantKind.LESSON, until_unix_ms=MONDAY_10 + 3_600_000, rule_ids=rules
        )
        await self.sees(observations.GrantsChanged(in_force=(grant,) if rules else ()))


def _without_tools(section: policy.Section) -> policy.Section:
    if not isinstance(section, policy.BrowserSection):
        return section
    open_ = policy.Switch.UNSPECIFIED
    return replace(section, settings=tuple(replace(one, developer_tools=open_) for one in section.settings))


async def until(what: Callable[[], Awaitable[bool]]) -> bool:
    async with asyncio.timeout(WITHIN):
        while not await what():  # noqa: ASYNC110 - a browser sets no event
            await asyncio.sleep(2)
    return True


def say(name: str, value: object) -> None:
    print(json.dumps([name, value]), flush=True)


async def chromium(device: Device, lesson: str) -> None:
    from playwright.async_api import Error, async_playwright

    async def refused(browser: Any, address: str) -> str:
        """Empty when the page loads.

        In the one visible tab: Chromium looks at its policies again only after its start is over, and for that it
        waits until a page that is seen is at rest.
        """
        page = browser.pages[0]
        try:
            await page.goto(address)
            return "" if await page.title() == "it loaded" else str(await page.title())
        except Error as error:
            await page.wait_for_timeout(500)  # its own error page comes after it
            return str(error).partition("\n")[0]

    async with async_playwright() as driver:
        start = functools.partial(
            driver.chromium.launch_persistent_context, tempfile.mkdtemp(), executable_path="/usr/bin/chromium"
        )
        browser = await start(args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--incognito"])
        say("open", await refused(browser, OPEN))
        say("closed", await refused(browser, CLOSED))
        page = browser.pages[0]
        await page.goto("chrome://policy")
        await page.locator("policy-row").first.wait_for(state="attached")
        await page.wait_for_timeout(500)
        rows = "rows => rows.map(row => ['.name', '.messages', '.value'].map(part => "
        rows += "row.shadowRoot.querySelector(part).innerText.trim()))"
        say("policies", await page.locator("policy-row").evaluate_all(rows))
        say("asked", Page.asked)

        async def opens() -> bool:
            return not await refused(browser, CLOSED)

        async def closes() -> bool:
            return "ERR_BLOCKED_BY_ADMINISTRATOR" in await refused(browser, CLOSED)

        await refused(browser, OPEN)
        await page.wait_for_timeout(10_000)
        await device.lesson(lesson)
        say("opened in the lesson", await until(opens))
        await device.lesson()
        say("closed after it", await until(closes))
        Path("/etc/chromium/policies/managed/schoolkeeper.json").write_text("{}")

        async def told() -> bool:
            return bool(device.events)

        say("told", await until(told) and device.events[0].body.detail)
        say("still closed", await until(closes))
        await browser.close()


def firefox_once(profile: Path) -> dict[str, Any]:
    from ask_firefox import _ERRORS, Marionette, Refused

    profile.mkdir(exist_ok=True)
    (profile / "user.js").write_text('user_pref("dom.security.https_first", false);\n')
    flags = ("--headless", "--no-remote", "--marionette", "--remote-allow-system-access")
    found: dict[str, Any] = {}
    with subprocess.Popen(
        ["firefox-esr", *flags, "--profile", str(profile)],
        env={**os.environ, "HOME": str(profile)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            browser = Marionette()
            browser.ask("WebDriver:NewSession")
            for name, address in (("open", OPEN), ("closed", CLOSED)):
                try:
                    browser.ask("WebDriver:Navigate", url=address)
                    found[name] = browser.ask("WebDriver:GetTitle")["value"]
                except Refused as refused:
                    found[name] = str(refused)
            found["private"] = browser.script(
                "chrome", 'return Services.policies.isAllowed("privatebrowsing")'
            )
            browser.ask("Marionette:SetContext", value="content")
            browser.ask("WebDriver:Navigate", url="about:policies")
            found["errors"] = browser.script("content", _ERRORS)
        finally:
            running.send_signal(signal.SIGTERM)
    return found


async def firefox(device: Device, lesson: str) -> None:
    profile = Path(tempfile.mkdtemp())
    say("before", await asyncio.to_thread(firefox_once, profile))
    say("asked", list(Page.asked))
    await device.lesson(lesson)
    say("lesson", await asyncio.to_thread(firefox_once, profile))


async def main(which: str, pack: str, group: str, lesson: str) -> None:
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(NAMES)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 80), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    device = Device(pack, group)
    await device.sees(observations.PolicySwapped(bundle=device.state.signed))
    say("lines", [[line.name, line.read_back, line.problem] for line in device.enforcer.lines()])
    await (chromium if which == "chromium" else firefox)(device, lesson)
    say("lines", [[line.name, line.read_back, line.effective] for line in device.enforcer.lines()])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
