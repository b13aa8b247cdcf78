"""A visitor to the console: signs in with password and second factor over HTTP, as a browser does, and reads pages."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from http.cookiejar import CookieJar

import pyotp


class VisitError(Exception):
    """The console did not answer as it should; says where."""


@dataclass(slots=True, kw_only=True)
class Visitor:
    """One signed-in person. ``address`` is the console's, without a slash at the end."""

    address: str
    login: str
    password: str = field(repr=False)
    second_factor: str = field(repr=False)
    _opener: urllib.request.OpenerDirector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def sign_in(self) -> None:
        self._post("/sign-in", {"login": self.login, "password": self.password})
        page = self._post("/sign-in/code", {"code": pyotp.TOTP(self.second_factor).now()})
        if "/sign-out" not in page:
            raise VisitError(f"{self.address}/sign-in: {self.login} was not signed in")

    def page(self, path: str) -> str:
        return self._open(urllib.request.Request(self.address + path))

    def incidents(self) -> list[str]:
        """Paths of the incidents that this person may open, newest first."""
        found = re.findall(r'href="(/incidents/[0-9a-f]{32})"', self.page("/incidents"))
        return list(dict.fromkeys(found))

    def _post(self, path: str, form: dict[str, str]) -> str:
        request = urllib.request.Request(
            self.address + path,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Origin": self.address, "Sec-Fetch-Site": "same-origin"},
        )
        return self._open(request)

    def _open(self, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise VisitError(f"{request.full_url}: the console answered {error.code}") from error
        except OSError as error:
            raise VisitError(f"{request.full_url}: {error}") from error
