"""Compiled rules for removable media: what a policy gives one medium, here, now, for this person.

The words of ``matching.py`` hold here, too: stricter wins, a rule on trial never loosens, what cannot be told counts
for the stricter rule. *encrypted-only* becomes allow for an encrypted medium and the rule's own ``plain`` or
``unknown`` for the others, before strictness is compared (T-44, T-45).
"""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.matching import Concern, TableMistake, mode_of, whole_minutes
from schoolkeeper_proto.model import DecisionKind, Medium, MediumEncryption
from schoolkeeper_proto.policy import MediaAccess, MediaRule, MediaSection

_REMEMBERED = 512
_MINUTE_MS = 60_000
_ANY = Circumstances(now_ms=0)
_STRICTNESS = {MediaAccess.ALLOW: 0, MediaAccess.READ_ONLY: 1, MediaAccess.BLOCK: 2}
_ENCRYPTED = frozenset(
    {
        MediumEncryption.LUKS1,
        MediumEncryption.LUKS2,
        MediumEncryption.BITLOCKER,
        MediumEncryption.FILEVAULT,
        MediumEncryption.VERACRYPT,
    }
)
_OTHERWISE = {
    DecisionKind.UNSPECIFIED: MediaAccess.ALLOW,
    DecisionKind.ALLOW: MediaAccess.ALLOW,
    DecisionKind.OBSERVE: MediaAccess.ALLOW,
    DecisionKind.WARN: MediaAccess.ALLOW,
    DecisionKind.READ_ONLY: MediaAccess.READ_ONLY,
    DecisionKind.BLOCK: MediaAccess.BLOCK,
    DecisionKind.BLOCK_AND_RAISE: MediaAccess.BLOCK,
}
_DECISION = {
    MediaAccess.ALLOW: DecisionKind.ALLOW,
    MediaAccess.READ_ONLY: DecisionKind.READ_ONLY,
    MediaAccess.BLOCK: DecisionKind.BLOCK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaVerdict:
    """``access`` is allow, read-only or block; ``asked`` differs from it while the rule is on trial (``mode``)."""

    access: MediaAccess
    asked: MediaAccess
    rule_id: str = ""
    mode: str = "enforce"

    @property
    def asked_decision(self) -> DecisionKind:
        return _DECISION[self.asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    rule: MediaRule
    mode: str
    condition: Condition | None


class _Seen:
    """A medium that was asked for lately, as in ``matching.py``: its rules and what they said last."""

    __slots__ = ("always", "by_minute", "groups", "last", "minute", "place", "rows")

    def __init__(self, rows: list[_Row], always: MediaVerdict | None) -> None:
        self.rows = rows
        self.always = always
        self.by_minute = all(whole_minutes(row.condition) for row in rows)
        self.minute = -1
        self.place = ""
        self.groups: frozenset[str] | None = None
        self.last: MediaVerdict | None = None


class MediaTable:
    """A whole media section, compiled: rules indexed by the most exact thing they name."""

    def __init__(self, section: MediaSection) -> None:
        self._otherwise = _OTHERWISE[section.otherwise]
        self._clock = ZoneClock()
        self._index: dict[str, list[_Row]] = {}
        self._seen: dict[tuple[str, str, str, str, MediumEncryption], _Seen] = {}
        for rule in section.rules:
            row = _Row(rule=rule, mode=mode_of(rule.text), condition=_checked(rule))
            for key in _keys(rule):
                self._index.setdefault(key, []).append(row)

    def decide(self, medium: Medium, circumstances: Circumstances) -> MediaVerdict:
        """The verdict on a medium; its kernel name, size and file system play no part."""
        key = (medium.serial, medium.vendor_id, medium.product_id, medium.bus, medium.encryption)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._look(key, medium)
        if seen.always is not None:
            return seen.always
        groups = circumstances.groups
        if (
            seen.minute == circumstances.now_ms // _MINUTE_MS
            and seen.place == circumstances.place
            and (seen.groups is groups or seen.groups == groups)
            and seen.last is not None
        ):
            return seen.last
        verdict = self._weigh(seen.rows, medium, circumstances)
        if seen.by_minute:
            seen.minute = circumstances.now_ms // _MINUTE_MS
            seen.place, seen.groups, seen.last = circumstances.place, groups, verdict
        return verdict

    def is_steady(self, medium: Medium) -> bool:
        """Whether neither time nor place nor person could change the verdict on it."""
        return not any(row.condition for row in self._rows_of(medium))

    def concerning(self, medium: Medium, circumstances: Circumstances) -> tuple[Concern, ...]:
        """Every rule that is about this medium, and whether it holds now: for explanations."""
        found = []
        for row in self._rows_of(medium):
            asked = resolve(row.rule, medium.encryption)
            answer = holds(row.condition, circumstances, self._clock)
            stricter = _STRICTNESS[asked] > _STRICTNESS[self._otherwise]
            found.append(
                Concern(
                    row.rule.text.rule_id,
                    str(asked),
                    row.mode,
                    holds=stricter if answer is None else answer,
                    told=answer is not None,
                )
            )
        return tuple(found)

    def _rows_of(self, medium: Medium) -> list[_Row]:
        # Once each, though "0951:1666" and "0951:*" of one rule are two keys of it.
        found = {id(row): row for one in _keys_of(medium) for row in self._index.get(one, ())}
        return [row for row in found.values() if _concerns(row.rule, medium)]

    def _look(self, key: tuple[str, str, str, str, MediumEncryption], medium: Medium) -> _Seen:
        rows = self._rows_of(medium)
        steady = not any(row.condition for row in rows)
        seen = _Seen(rows, self._weigh(rows, medium, _ANY) if steady else None)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = seen
        return seen

    def _weigh(self, rows: list[_Row], medium: Medium, circumstances: Circumstances) -> MediaVerdict:
        holding = []
        for row in rows:
            asked = resolve(row.rule, medium.encryption)
            answer = holds(row.condition, circumstances, self._clock)
            if answer is None:
                answer = _STRICTNESS[asked] > _STRICTNESS[self._otherwise]
            if answer:
                holding.append((asked, row.mode, row.rule.text.rule_id))
        return self._strictest(holding)

    def _strictest(self, holding: list[tuple[MediaAccess, str, str]]) -> MediaVerdict:
        ordered = sorted(holding, key=lambda one: (-_STRICTNESS[one[0]], one[2]))
        best = MediaVerdict(access=self._otherwise, asked=self._otherwise)
        for access, mode, rule_id in ordered:
            if mode == "enforce":
                best = MediaVerdict(access=access, asked=access, rule_id=rule_id)
                break
        for asked, mode, rule_id in ordered:
            if mode != "enforce" and best.access is MediaAccess.ALLOW and asked is not MediaAccess.ALLOW:
                return MediaVerdict(access=MediaAccess.ALLOW, asked=asked, rule_id=rule_id, mode=mode)
        return best


def resolve(rule: MediaRule, encryption: MediumEncryption) -> MediaAccess:
    """What the rule gives a medium of this kind: never encrypted-only, never unspecified."""
    access = rule.access
    if access is MediaAccess.ENCRYPTED_ONLY:
        if encryption in _ENCRYPTED:
            return MediaAccess.ALLOW
        access = rule.plain if encryption is MediumEncryption.NONE else rule.unknown
    return access if access in _STRICTNESS else MediaAccess.BLOCK


def _checked(rule: MediaRule) -> Condition | None:
    where = f"rule {rule.text.rule_id!r}"
    if not rule.text.rule_id or rule.access is MediaAccess.UNSPECIFIED:
        raise TableMistake(f"{where}: it needs an id and an access (allow, read-only, block, encrypted-only)")
    if rule.access is MediaAccess.ENCRYPTED_ONLY:
        for access in (rule.plain, rule.unknown):
            if access not in (MediaAccess.READ_ONLY, MediaAccess.BLOCK, MediaAccess.UNSPECIFIED):
                raise TableMistake(
                    f"{where}: under encrypted-only another medium gets read-only or block, not {access}"
                )
    try:
        return compile_condition(rule.when)
    except ConditionMistake as error:
        raise TableMistake(f"{where}: {error}") from error


def _keys(rule: MediaRule) -> set[str]:
    if rule.serials:
        return {f"serial:{serial}" for serial in rule.serials}
    if rule.vendor_products:
        return {f"product:{pair.lower()}" for pair in rule.vendor_products}
    if rule.buses:
        return {f"bus:{bus}" for bus in rule.buses}
    return {"every"}


def _keys_of(medium: Medium) -> tuple[str, ...]:
    vendor, product = medium.vendor_id.lower(), medium.product_id.lower()
    return (
        f"serial:{medium.serial}",
        f"product:{vendor}:{product}",
        f"product:{vendor}:*",
        f"bus:{medium.bus}",
        "every",
    )


def _concerns(rule: MediaRule, medium: Medium) -> bool:
    """Every list that is not empty must name the medium."""
    keys = set(_keys_of(medium))
    return (
        (not rule.serials or medium.serial in rule.serials)
        and (
            not rule.vendor_products
            or any(f"product:{pair.lower()}" in keys for pair in rule.vendor_products)
        )
        and (not rule.buses or medium.bus in rule.buses)
    )
