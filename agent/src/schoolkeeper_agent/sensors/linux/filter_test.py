"""Tries whether the school's web filter refuses what it must: a program of its own, which ends after two requests.

    python -m schoolkeeper_agent.sensors.linux.filter_test BLOCKED CONTROL WORDS

It prints a ``Finding`` as JSON. A child of the service, so that neither an HTTP library nor a page is ever in
the service. Both pages are the policy's own test pages: they are looked at for the filter's words and thrown away.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass

_TIMEOUT_S = 15
_LONGEST = 262_144
"""Bytes of a page that are looked at."""
_REFUSING = frozenset({403, 407, 451})
_AGENT = "schoolkeeper-filter-test/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request: a status with the page, or why there was none (``failure``, with ``refused``).

    ``refused``: somebody between here and there said no (a reset, a refused connection, no such name, a certificate of
    somebody else), unlike silence, which says nothing.
    """

    status: int = 0
    page: str = ""
    failure: str = ""
    refused: bool = False


def judge(blocked: Answer, control: Answer, words: str) -> tuple[str, str, str]:
    """The result ('pass', 'fail', 'unknown'), its evidence, and the reason where it is unknown. Pure."""
    if not 200 <= control.status < 400:
        why = control.failure or f"status {control.status}"
        return "unknown", "", f"the page that always answers did not ({why}): no network, or a wrong address"
    if control.page and control.page == blocked.page:
        return "unknown", "", "both addresses show the same page: does this network ask to sign in first?"
    if words and words.casefold() in control.page.casefold():
        return (
            "unknown",
            "",
            "the page that always answers carries the refusal's words: choose another",
        )
    if words and words.casefold() in blocked.page.casefold():
        return "pass", "the filter showed its refusal", ""
    if blocked.refused:
        return "pass", f"refused: {blocked.failure}", ""
    if blocked.failure:
        return "unknown", "", f"the page to be refused did not answer: {blocked.failure}"
    if blocked.status in _REFUSING:
        return "pass", f"refused with status {blocked.status}", ""
    if 200 <= blocked.status < 400:
        return "fail", "a page that the filter must refuse was shown", ""
    return "unknown", "", f"the page to be refused answered {blocked.status}: was it moved?"


def ask(url: str) -> Answer:
    """One GET, with the proxy of the environment and redirections followed."""
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT})  # noqa: S310, the policy allows http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return Answer(status=answer.status, page=_text(answer.read(_LONGEST)))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, page=_text(error.read(_LONGEST)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Answer(failure=_said(reason), refused=_is_refusal(reason))


def _text(page: bytes) -> str:
    return page.decode("utf-8", "replace")


def _said(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({reason.verify_message})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _is_refusal(reason: object) -> bool:
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_NONAME
    if isinstance(reason, ssl.SSLCertVerificationError):
        return True
    return isinstance(reason, OSError) and reason.errno in (errno.ECONNREFUSED, errno.ECONNRESET)


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        print("python -m schoolkeeper_agent.sensors.linux.filter_test BLOCKED CONTROL WORDS", file=sys.stderr)
        return 2
    blocked, control, words = arguments
    result, evidence, because = judge(ask(blocked), ask(control), words)
    print(json.dumps({"result": result, "evidence": evidence, "because": because}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
