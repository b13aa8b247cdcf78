"""Enrolment without a person: a file that the image carries, used when the collector is first reachable.

``/etc/schoolkeeper/enrol.toml``::

    addresses = ["collector.school.example:7443"]
    token = "sk1-..."
    proxy = ""          # optional, http://USER:PASSWORD@HOST:PORT

The token is a secret: the file should be readable by root only, and is removed once it is used. What cannot pass by
itself (a spent token) is said once and tried again when the file changes, or after an hour.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.enrol import EnrolError, EnrolOptions, EnrolResult, enrol
from schoolkeeper_agent.identity import load_identity
from schoolkeeper_agent.net import AddressError, Proxy, parse_proxy
from schoolkeeper_agent.system import here

PRESEED = here.CONFIG_FOLDER / "enrol.toml"
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 300.0
REFUSED_WAIT_SECONDS = 3_600.0
_KNOWN = frozenset({"addresses", "address", "token", "proxy"})


class PreseedError(ValueError):
    """A file that cannot be used; names it, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preseed:
    addresses: tuple[str, ...]
    token: str
    proxy: Proxy | None

    def __repr__(self) -> str:
        return f"Preseed({self.addresses!r}, token=<hidden>)"


def read_preseed(path: Path) -> Preseed | None:
    """None when there is no file. Raises ``PreseedError``."""
    try:
        said = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PreseedError(f"{path}: cannot be read: {error}") from error
    unknown = set(said) - _KNOWN
    if unknown:
        raise PreseedError(f"{path}: unknown key {min(unknown)!r}; known: {', '.join(sorted(_KNOWN))}")
    addresses = said.get("addresses", [said["address"]] if "address" in said else [])
    token = said.get("token", "")
    if not isinstance(addresses, list) or not addresses or not all(isinstance(a, str) for a in addresses):
        raise PreseedError(f'{path}: addresses must be a list like ["collector.school.example:7443"]')
    if not isinstance(token, str) or not token:
        raise PreseedError(f"{path}: token is missing: paste the line that `token create` printed")
    try:
        proxy = parse_proxy(str(said.get("proxy", "")))
    except AddressError as error:
        raise PreseedError(f"{path}: {error}") from error
    return Preseed(addresses=tuple(addresses), token=token, proxy=proxy)


async def enrol_unattended(
    state_dir: Path,
    *,
    say: Callable[[str], None],
    wall_ms: Callable[[], int],
    tried: Callable[[str], None] = lambda _: None,
    preseed: Path = PRESEED,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> EnrolResult:
    """Waits for the file and for the collector; returns once enrolled.

    ``say`` gets each new reason why not yet (for a log), ``tried`` the reason after every try.
    """
    wait = FIRST_WAIT_SECONDS
    said = ""
    while True:
        try:
            held = load_identity(state_dir)
            if held is not None:
                return EnrolResult(identity=held, clock_off_ms=0)
            found = read_preseed(preseed)
            if found is not None:
                result = await _first_that_works(state_dir, found, wall_ms)
                _remove(preseed, say)
                return result
            message, longest = f"not enrolled: waiting for {preseed}, or for `schoolkeeper-agent enrol`", 60.0
        except PreseedError as error:
            message, longest = str(error), 60.0
        except EnrolError as error:
            message = f"not enrolled yet: {error}"
            longest = LONGEST_WAIT_SECONDS if error.may_pass else REFUSED_WAIT_SECONDS
        tried(message)
        if message != said:
            say(message)
            said, wait = message, FIRST_WAIT_SECONDS
        before = _stamp(preseed)
        # Thirty laptops that are switched on together do not all come back at the same moment.
        end = wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while end > 0 and _stamp(preseed) == before:
            await sleep(min(5.0, end))
            end -= 5.0
        wait = min(wait * 2, longest)


async def _first_that_works(state_dir: Path, found: Preseed, wall_ms: Callable[[], int]) -> EnrolResult:
    failed: EnrolError | None = None
    for address in found.addresses:
        options = EnrolOptions(
            state_dir=state_dir, address=address, token=found.token, proxy=found.proxy, accept_clock=True
        )
        try:
            return await enrol(options, now_ms=wall_ms())
        except EnrolError as error:
            failed = error
            if not error.may_pass and error.reason != "wrong-host":
                break
    assert failed is not None
    raise failed


def _remove(preseed: Path, say: Callable[[str], None]) -> None:
    """The token in it is a secret that has done its work."""
    try:
        preseed.unlink(missing_ok=True)
    except OSError as error:
        say(f"{preseed} holds a token and cannot be removed ({error.strerror}): remove it by hand")


def _stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
