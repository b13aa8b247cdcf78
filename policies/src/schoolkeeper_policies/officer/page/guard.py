"""Who may talk to the loopback page: this machine's browser, once it brought the one-time token, and no other page.

Any program and any web page on this machine can reach a loopback port. So the Host header must be ours (against DNS
rebinding), a change must come from our own page (Origin or Sec-Fetch-Site), and everything needs the cookie that the
one-time token was exchanged for. Browsers send a cookie to every port of a host, so the cookie is bound to a path that
nobody else knows. The host is ``localhost``, which browsers ask no name server for: passkeys belong to a name, not
to an address. Pure: headers in, a verdict out.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

COOKIE = "schoolkeeper-officer"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(slots=True)
class Guard:
    """``port``: the one that is listened on. Idle time counts from the last admitted request, in seconds."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    path: str = field(default_factory=lambda: f"/{secrets.token_urlsafe(16)}/", repr=False)
    _cookie: str = field(default="", repr=False)
    _last: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def idle_seconds(self) -> float:
        return time.monotonic() - self._last

    def is_our_host(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Host", "") == self.host

    def exchange(self, token: str) -> str | None:
        """The cookie for the one-time token, the first time; None ever after and for any other word."""
        with self._lock:
            if self._cookie or not hmac.compare_digest(token.encode(), self.token.encode()):
                return None
            self._cookie = secrets.token_urlsafe(32)
            self._last = time.monotonic()
            return self._cookie

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether the request bears the cookie; then the idle time starts again."""
        try:
            held = SimpleCookie(headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        if (
            not self._cookie
            or held is None
            or not hmac.compare_digest(held.value.encode(), self._cookie.encode())
        ):
            return False
        self._last = time.monotonic()
        return True

    def is_from_our_page(self, headers: Mapping[str, str]) -> bool:
        """Whether a change was asked for by a page of ours: by Sec-Fetch-Site, else by Origin; neither is a no."""
        site = headers.get("Sec-Fetch-Site")
        if site is not None and site != "same-origin":
            return False
        origin = headers.get("Origin")
        if origin is None:
            return site is not None
        return origin == self.origin
