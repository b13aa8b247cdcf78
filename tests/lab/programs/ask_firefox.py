"""`ask_firefox.py PROGRAM PROFILE ADDRESS`: what a real Firefox says of its policies, as one line of JSON.

Speaks Marionette, Firefox's own remote control: each message is its length, a colon, and JSON. It runs in a network
namespace of its own, so that the port is nobody else's and nothing leaves the machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PORT = 2828
STARTS_WITHIN_SECONDS = 60
_SHOWN = """
return {
  active: Services.policies.status === Services.policies.ACTIVE,
  policies: Services.policies.getActivePolicies() || {},
  config: Services.dirsvc.get("SysConfD", Ci.nsIFile).path,
};
"""
_ERRORS = """
return [...document.querySelectorAll("#errorsContent tr, #errorsContent li")].map(row => row.innerText.trim());
"""


class Refused(RuntimeError):
    """What Firefox answered instead of doing it."""


class Marionette:
    def __init__(self) -> None:
        last = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", PORT))
                break
            except OSError:
                if time.monotonic() > last:
                    raise
                time.sleep(0.1)
        self._number = 0
        self._read()

    def ask(self, command: str, **parameters: object) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, fault, value = self._read()
        if fault:
            raise Refused(fault["message"])
        return value

    def script(self, context: str, text: str) -> Any:
        self.ask("Marionette:SetContext", value=context)
        return self.ask("WebDriver:ExecuteScript", script=text, args=[])["value"]

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._some(1)
        return json.loads(self._some(int(length[:-1])))

    def _some(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("Firefox ended")
            data += more
        return data


def main() -> None:
    program, profile, address = sys.argv[1:]
    Path(profile).mkdir()
    flags = ("--headless", "--no-remote", "--marionette", "--remote-allow-system-access")
    with subprocess.Popen(
        [program, *flags, "--profile", profile],
        env={**os.environ, "HOME": profile},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as firefox:
        try:
            print(json.dumps(_ask(Marionette(), address)))
        finally:
            firefox.terminate()


def _ask(browser: Marionette, address: str) -> dict[str, Any]:
    browser.ask("WebDriver:NewSession")
    found: dict[str, Any] = browser.script("chrome", _SHOWN)
    browser.ask("Marionette:SetContext", value="content")
    browser.ask("WebDriver:Navigate", url="about:policies")
    found["errors"] = browser.script("content", _ERRORS)
    try:
        browser.ask("WebDriver:Navigate", url=address)
        found["refused"] = ""
    except Refused as refused:
        found["refused"] = str(refused)
    return found


if __name__ == "__main__":
    main()
