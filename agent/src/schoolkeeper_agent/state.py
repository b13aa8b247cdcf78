"""What the core remembers between two observations. Frozen: each step makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from schoolkeeper_agent.collection import CollectionTable
from schoolkeeper_agent.enforcers.actions import KeepBluetooth
from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.requests import Refusal, Requests, refused
from schoolkeeper_agent.usage import Usage, empty, heed
from schoolkeeper_proto import model
from schoolkeeper_proto.browser_holding import BrowserTable
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import KNOWN, Circumstances
from schoolkeeper_proto.decide import texts_of
from schoolkeeper_proto.granted import InForce, with_grants
from schoolkeeper_proto.matching import ApplicationTable, compile_applications
from schoolkeeper_proto.media_matching import MediaTable, MediaVerdict
from schoolkeeper_proto.people import PeopleTable
from schoolkeeper_proto.peripheral_matching import PeripheralTable
from schoolkeeper_proto.policy import BrowserSection, RuleText

GRAPHICAL = frozenset({"x11", "wayland", "mir", "graphical"})
"""logind's words for sessions with a display; only these can be locked."""


class Account(Protocol):
    """Whoever an observation is about; ``groups`` are those of the operating system, None when not known."""

    @property
    def account(self) -> str: ...
    @property
    def user_id(self) -> int: ...
    @property
    def groups(self) -> frozenset[str] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMedium:
    """A medium that is plugged in, who sat there then, and what was decided. ``sequence``: the kernel's number of it.

    ``encrypting``: it is being encrypted here, and is left alone until that ended.
    """

    medium: model.Medium
    sequence: int = 0
    encrypting: bool = False
    account: str = ""
    user_id: int = -1
    groups: frozenset[str] | None = None
    verdict: MediaVerdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPeripheral:
    """One interface of a USB device that carries pictures, who sat there when it came, and what was done to it.

    ``kinds``: every ``PeripheralKind`` that it may be of. ``withheld`` is what the enforcer confirmed, ``asked`` what
    it was asked for last (None: it was found withheld, and who did that is not known); ``warned`` is who was warned.
    """

    medium: model.Medium
    kinds: tuple[str, ...]
    account: str = ""
    user_id: int = -1
    groups: frozenset[str] | None = None
    asked: bool | None = False
    withheld: bool = False
    failing: bool = False
    warned: frozenset[int] = frozenset()

    @property
    def device(self) -> str:
        """The USB device that the interface belongs to: "1-2" of "1-2:1.0"."""
        return self.medium.kernel_name.partition(":")[0]

    @property
    def product(self) -> str:
        return f"{self.medium.vendor_id}:{self.medium.product_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSession:
    """A session; ``asked_unix_ms`` is when the core last asked to lock it (0: not since it was unlocked).

    ``due`` is why it should be locked and is not (a cause as in ``event.proto``; empty: it need not be),
    ``due_unix_ms`` since when. ``last_words_unix_ms``: when its person was told that it ends in a minute. ``shown``: it
    was in the foreground once; ``seen_unix_ms``: when it was seen first.
    """

    session_id: str
    account: str
    user_id: int
    session_type: str = ""
    locked: bool = False
    idle: bool = False
    background: bool = False
    shown: bool = False
    seen_unix_ms: int = 0
    remote: bool = False
    seat: str = ""
    groups: frozenset[str] | None = None
    asked_unix_ms: int = 0
    warned: bool = False
    failures: int = 0
    due: str = ""
    due_unix_ms: int = 0
    last_words_unix_ms: int = 0
    end_failed: bool = False

    @property
    def graphical(self) -> bool:
        return self.session_type in GRAPHICAL

    @property
    def has_a_screen(self) -> bool:
        """Whether its screen is one that somebody who passes by can use: not a terminal of another machine's."""
        return self.graphical or not self.remote


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureState:
    result: model.PostureResult
    since_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """The time that is believed: wall time plus ``ahead_ms``, or time since boot plus ``base_ms`` (None: not known)."""

    ahead_ms: int = 0
    base_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """Whether this device is isolated or lost by the grants in force. ``known``: the enforcers were told once."""

    known: bool = False
    isolate: InForce | None = None
    lost: InForce | None = None
    tell_release: bool = False
    """The isolation that ends was not a quiet one: whoever uses the device hears of its end."""
    said: Mapping[bytes, tuple[str, str]] = field(default_factory=dict)
    """Grant id -> what was last written down of it, for ``status``: state and detail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreState:
    """``able`` names enforcers that can act here, ``guarding`` says whether executions are decided right now.

    ``run_id`` is random and new at each start of the service: aggregates of two runs never replace each other.
    ``signed`` is the bundle as it was signed, ``policy`` what the grants in force make of it: everything is decided by
    that. ``holding``: media are held until they are judged, None before that was asked for. ``time`` says by how much
    the clocks are wrong. ``browser_asked`` is what browsers were told last, None when that is not known or failed;
    ``bluetooth_asked`` and ``desktop_asked`` (seconds) the same of Bluetooth and of desktops' own locks.
    """

    signed: OpenBundle
    policy: OpenBundle
    applications: ApplicationTable
    media_table: MediaTable
    browsers: BrowserTable
    peripheral_table: PeripheralTable
    people: PeopleTable
    collection: CollectionTable
    texts: dict[str, RuleText]
    run_id: bytes
    grants: tuple[InForce, ...] = ()
    time: Believed = Believed()
    guard_base_ms: int | None = None
    able: frozenset[str] = frozenset()
    place: model.Place = model.Place.UNKNOWN
    guarding: bool = False
    unguarded_since_unix_ms: int = 0
    media: dict[str, HeldMedium] = field(default_factory=dict)
    holding: bool | None = None
    peripherals: dict[str, HeldPeripheral] = field(default_factory=dict)
    bluetooth_asked: KeepBluetooth | None = field(default_factory=KeepBluetooth)
    bluetooth_failing: bool = False
    sessions: dict[str, HeldSession] = field(default_factory=dict)
    posture: dict[str, PostureState] = field(default_factory=dict)
    browser_asked: BrowserSection | None = None
    browser_failing: bool = False
    desktop_asked: int | None = 0
    desktop_failing: bool = False
    usage: Usage = field(default_factory=empty)
    requests: Requests = field(default_factory=Requests)
    confined: Confined = field(default_factory=Confined)

    @classmethod
    def compiled(
        cls,
        signed: OpenBundle,
        *,
        run_id: bytes,
        able: frozenset[str],
        place: model.Place,
        grants: tuple[InForce, ...] = (),
    ) -> Self:
        policy = with_grants(signed, grants)
        return cls(
            signed=signed,
            policy=policy,
            grants=grants,
            applications=compile_applications(policy.applications),
            media_table=MediaTable(policy.media),
            browsers=BrowserTable(policy.browser),
            peripheral_table=PeripheralTable(policy.peripherals),
            people=PeopleTable(policy.people, policy.collection.pseudonym_key),
            collection=CollectionTable(policy.collection),
            texts=texts_of(policy),
            run_id=run_id,
            able=able,
            place=place,
        )

    def with_policy(self, signed: OpenBundle, grants: tuple[InForce, ...]) -> Self:
        """Compiled whole, then swapped; raises ``TableMistake`` and leaves this state as it is."""
        new = type(self).compiled(signed, run_id=self.run_id, able=self.able, place=self.place, grants=grants)
        return replace(
            self,
            signed=signed,
            policy=new.policy,
            grants=grants,
            applications=new.applications,
            media_table=new.media_table,
            browsers=new.browsers,
            peripheral_table=new.peripheral_table,
            people=new.people,
            collection=new.collection,
            texts=new.texts,
        )

    @property
    def screens_locked(self) -> bool:
        """Whether nobody can use a screen here without a password; not so while nobody is signed in."""
        shown = [held for held in self.sessions.values() if held.graphical and not held.remote]
        shown = [held for held in shown if not held.background] or shown
        return bool(shown) and all(held.locked for held in shown)

    def circumstances(self, seen: Account, now: int) -> Circumstances:
        """``now`` is wall time; rules are judged by the time that is believed (a clock that is set opens nothing)."""
        now_ms = now + self.time.ahead_ms
        return Circumstances(now_ms=now_ms, place=str(self.place), groups=self.groups_of(seen))

    def may_record(self, kind: str, now: int) -> bool:
        """Whether events of this kind are written down; ``now`` is wall time, the time that is believed decides."""
        return self.collection.may_record(kind, self.place, now + self.time.ahead_ms)

    def heeded_usage(self, now: int) -> Usage:
        """Use is counted only where and when it may be written down: what lies outside never reaches a count."""
        return heed(self.usage, counting=self.may_record(model.ApplicationUsage.KIND, now), now=now)

    def groups_of(self, seen: Account) -> frozenset[str] | None:
        """Of the operating system and of the school's register; None when they cannot be told."""
        if seen.groups is None:
            return None
        if 0 <= seen.user_id < FIRST_PERSON_UID:
            return seen.groups | {KNOWN}
        return seen.groups | self.people.groups_of(seen.account)

    def refusing(self, user_id: int, rule_id: str, what: str, now: int) -> Self:
        """Remembers, in memory only, that this was refused; what no rule names cannot be asked for by name."""
        if not rule_id:
            return self
        refusal = Refusal(rule_id=rule_id, what=what, at_unix_ms=now)
        return replace(self, requests=refused(self.requests, user_id, refusal))

    def session_of(self, user_id: int) -> str:
        """The id of a session of this account, or empty: then every screen is told."""
        return next((held.session_id for held in self.sessions.values() if held.user_id == user_id), "")
