"""What a handler gets: the request, who asks, and the parts of the console. Built once per request by ``gate.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from starlette.requests import Request

from schoolkeeper_collector.console.access import AUDIENCE, Stage
from schoolkeeper_collector.console.accounts import Account
from schoolkeeper_collector.console.agreements import VersionsInForce
from schoolkeeper_collector.console.assessed import Register
from schoolkeeper_collector.console.seen import ManualTypes
from schoolkeeper_collector.console.words import Language
from schoolkeeper_collector.devices.inventory import STALE_DAYS
from schoolkeeper_collector.incidents.cases import Cases
from schoolkeeper_collector.incidents.model import Viewer
from schoolkeeper_collector.school.policy_review import PolicyReview, Review
from schoolkeeper_proto.statements import Signer

if TYPE_CHECKING:
    from schoolkeeper_collector.console.pages.rendering import Renderer
    from schoolkeeper_collector.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the console must know of its school. ``console_key``: 32 bytes; ``secure``: it speaks TLS.

    ``fixes``: what the school's policy tells a technician to do when a posture check fails, by the check's name.
    """

    school_id: str
    school_name: str
    zone: ZoneInfo
    console_key: bytes = field(repr=False)
    secure: bool
    fixes: Mapping[str, str] = field(default_factory=dict)
    state_dir: Path | None = None
    """Where the collector's files lie; None where there are none to show."""
    ledger_keys: tuple[bytes, ...] = ()
    """Raw public keys that may have signed the log's checkpoints, the one in use first; empty: none is at hand."""
    lesson_signer: Signer | None = field(default=None, repr=False)
    """The collector's command key: it opens lessons within what the signed policy lets the console open."""
    inventory_stale_days: int = STALE_DAYS
    """After how many days what another system told of a device is old."""
    snapshot_months: int = 1
    """Every so many months a technical audit is made by itself; 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The parts that every page uses. ``clock`` gives Unix milliseconds."""

    options: Options
    store: Store
    cases: Cases
    renderer: Renderer
    clock: Callable[[], int]
    versions_in_force: VersionsInForce = field(default_factory=VersionsInForce)
    manual_types: ManualTypes = field(default_factory=ManualTypes)
    assessments: Register = field(default_factory=Register)
    policy_review: PolicyReview = field(default_factory=PolicyReview)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of one person. ``form`` holds the last value of each field of a POST."""

    console: Console
    request: Request
    stage: Stage
    account: Account | None
    language: Language
    form: Mapping[str, str]
    token: str
    """The session's opaque token; empty without one."""
    now_ms: int

    @property
    def viewer(self) -> Viewer:
        """Who looks; only pages for signed-in accounts may ask."""
        account = self.person
        return Viewer(
            school_id=account.school_id, account_id=account.account_id, audience=AUDIENCE[account.role]
        )

    @property
    def person(self) -> Account:
        """The account behind the session; the gate lets no request without one to a page that asks."""
        assert self.account is not None
        return self.account

    @property
    def address(self) -> str:
        """The address that the connection comes from; never one that a header claims."""
        return self.request.client.host if self.request.client else ""

    @property
    def review(self) -> Review:
        """How it stands today with the school's review of its whole policy."""
        options = self.console.options
        today = datetime.fromtimestamp(self.now_ms / 1000, options.zone).date()
        return self.console.policy_review.at(options.state_dir, today)

    def say(self, text: str) -> str:
        """Return a sentence in the visitor's language."""
        return self.language.gettext(text)
