"""Compiled rules for applications: what a policy says of one program, here, now, for this person.

**Stricter wins**: of all rules in force that match, the strictest decides, whatever their order; without any,
``otherwise`` does. A rule on trial (mode observe or warn) can only add an observation or a warning, never loosen.
A condition that cannot be told (unknown place or person) holds for a rule stricter than ``otherwise``, and does not
for one that is weaker.

A rule is not about what its ``unless`` names, so that 'everything that people brought along' can have exceptions
without a weaker rule ever beating a stricter one.

The cost of a decision does not depend on the number of rules that do not concern the program: exact texts are
dictionary keys, patterns a tree, and what was found for a program is remembered.

Everything is plain tuples and text, so that a table can be written as JSON for the exec responder, which imports
this module and nothing else of the project; the service decides with the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    condition_from_json,
    holds,
)
from schoolkeeper_proto.patterns import PatternMistake, PatternTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schoolkeeper_proto.policy import ApplicationRule, ApplicationsSection, RuleText

STRICTNESS = {"allow": 0, "observe": 1, "warn": 2, "read-only": 3, "block": 4, "block-and-raise": 5}
_CAP = {"observe": "observe", "warn": "warn"}
_FORMAT = 3
_REMEMBERED = 4096
_MINUTE_MS = 60_000
_ANY = Circumstances(now_ms=0)

ORIGINS = ("system", "personal")
"""What only an administrator could have put on the device; everything else. See ``guessed_origin``."""
_INSTALLED = (
    "/usr/",
    "/bin/",
    "/sbin/",
    "/lib/",
    "/lib64/",
    "/opt/",
    "/snap/",
    "/var/lib/flatpak/",
    "/nix/store/",
)

Matches = tuple[tuple[str, str], ...]
Row = tuple[str, str, str, "Condition | None", Matches, Matches]
"""Rule id, decision, mode, condition, matches as (by, text), and what the rule is not about all the same."""


class TableMistake(ValueError):
    """A rule that cannot be compiled; the message names the rule and the remedy. The table in force stays."""


class Verdict:
    """``decision`` is what to do; ``asked`` what the rule says itself, which differs while it is on trial.

    ``rule_id`` is empty when no rule decided. ``steady`` means that neither user, time nor place could change it.
    Verdicts are remembered and given again: nobody changes one.
    """

    __slots__ = ("asked", "decision", "rule_id", "steady")

    def __init__(self, decision: str, asked: str, rule_id: str, *, steady: bool) -> None:
        self.decision = decision
        self.asked = asked
        self.rule_id = rule_id
        self.steady = steady

    @property
    def refuses(self) -> bool:
        return STRICTNESS[self.decision] >= STRICTNESS["block"]

    def for_this_user(self) -> Verdict:
        """The same, as one that another person's execution could change."""
        if not self.steady:
            return self
        return Verdict(self.decision, self.asked, self.rule_id, steady=False)

    def __repr__(self) -> str:
        return (
            f"Verdict({self.decision!r}, asked={self.asked!r}, rule={self.rule_id!r}, steady={self.steady})"
        )


class Concern:
    """A rule that is about something, whether it ``holds`` now, and whether that could be ``told``."""

    __slots__ = ("decision", "holds", "mode", "rule_id", "told")

    def __init__(self, rule_id: str, decision: str, mode: str, *, holds: bool, told: bool) -> None:
        self.rule_id = rule_id
        self.decision = decision
        self.mode = mode
        self.holds = holds
        self.told = told


class _Seen:
    """A program that was asked for: which rules match it, and what they said last.

    It is what was found for this hash, package and origin, as they were given. ``always`` is the verdict that nothing
    can change. ``last`` is what held from ``since`` to before ``until``, a minute of Unix milliseconds, at this
    ``place`` for these ``groups``: hours, days and a zone's clock change on whole minutes, and ``by_minute`` says that
    its rules' exceptions do, too. ``anywhere`` and ``anybody``: the place, and the groups, make no difference.
    """

    __slots__ = (
        "always",
        "anybody",
        "anywhere",
        "by_minute",
        "groups",
        "last",
        "numbers",
        "origin",
        "package",
        "place",
        "sha256",
        "since",
        "until",
    )

    def __init__(
        self,
        facts: tuple[str, str, str],
        numbers: tuple[int, ...],
        conditions: Sequence[Condition | None],
        last: Verdict,
    ) -> None:
        self.sha256, self.package, self.origin = facts
        self.numbers = numbers
        self.always = None if any(conditions) else last
        self.by_minute = all(map(whole_minutes, conditions))
        self.anywhere = not any(one is not None and one[1] for one in conditions)
        self.anybody = not any(map(_asks_who, conditions))
        self.since = self.until = 0
        self.place = ""
        self.groups: frozenset[str] | None = None
        self.last = last


def whole_minutes(condition: Condition | None) -> bool:
    """Whether the condition cannot change within a minute."""
    return condition is None or all(
        start % _MINUTE_MS == 0 and end % _MINUTE_MS == 0 for _, start, end in condition[5]
    )


def _asks_who(condition: Condition | None) -> bool:
    return condition is not None and bool(condition[2] or any(groups for groups, _, _ in condition[5]))


def guessed_origin(path: str) -> str:
    """The origin by the path alone, where nobody looked at the file: for explanations, tests and trials."""
    return "system" if path.startswith(_INSTALLED) else "personal"


class _Index:
    """Which rules name a program, by one of their lists of matches."""

    __slots__ = ("exact", "patterns")

    def __init__(self, lists: Sequence[Matches]) -> None:
        self.exact: dict[tuple[str, str], list[int]] = {}
        patterns = []
        for number, matches in enumerate(lists):
            for by, text in matches:
                if by == "path-pattern":
                    patterns.append((text, number))
                else:
                    self.exact.setdefault((by, text), []).append(number)
        self.patterns = PatternTree(patterns) if patterns else None

    def find(self, path: str, sha256: str, package: str, origin: str) -> set[int]:
        name = path.rpartition("/")[2]
        keys = (
            ("path", path), ("file-name", name), ("sha256", sha256), ("package", package), ("origin", origin)
        )  # fmt: skip
        found = {number for one in keys if one[1] for number in self.exact.get(one, ())}
        if self.patterns is not None:
            found |= self.patterns.find(path)
        return found


class ApplicationTable:
    """A whole applications section, compiled."""

    def __init__(self, rows: Sequence[Row], otherwise: str) -> None:
        self._rows = tuple(rows)
        self._otherwise = otherwise
        self._clock = ZoneClock()
        self._index = _Index([row[4] for row in self._rows])
        self._unless = _Index([row[5] for row in self._rows]) if any(row[5] for row in self._rows) else None
        used = {by for row in self._rows for by, _ in (*row[4], *row[5])}
        self.needs_sha256 = "sha256" in used
        self.needs_package = "package" in used
        self.needs_origin = "origin" in used
        self.needs_user = any(_asks_who(row[3]) for row in self._rows)
        self._seen: dict[str, _Seen] = {}
        # Programs that no rule is about are many: those with the same facts share one entry.
        self._unconcerned: dict[tuple[str, str, str], _Seen] = {}

    @property
    def exact_paths(self) -> tuple[str, ...]:
        """The paths that rules name exactly: a driver can also recognise the files behind them."""
        return tuple(text for by, text in self._index.exact if by == "path")

    @property
    def packages(self) -> frozenset[str]:
        """The packages that rules name: a driver finds out which files are theirs."""
        return frozenset(text for row in self._rows for by, text in (*row[4], *row[5]) if by == "package")

    def decide(
        self,
        path: str,
        circumstances: Circumstances,
        *,
        sha256: str = "",
        package: str = "",
        alias: str = "",
        origin: str = "",
    ) -> Verdict:
        """The verdict on a program. ``sha256`` is lower-case hexadecimal, or empty when not known.

        ``alias`` is a path that a rule names and behind which the same file lies, if a driver found that out.
        ``origin`` is one of ``ORIGINS``; empty: guessed by the path.
        """
        try:
            seen = self._seen[path]
        except KeyError:
            seen = self._look(path, sha256, package, origin)
        if seen.package != package or seen.origin != origin or seen.sha256 != sha256 or alias:
            if alias and alias != path:
                return self._of_two_names(path, alias, circumstances, sha256, package, origin)
            seen = self._look(path, sha256, package, origin)
        always = seen.always
        if always is not None:
            return always
        if (
            seen.since <= circumstances.now_ms < seen.until
            and (seen.anybody or seen.groups is circumstances.groups or seen.groups == circumstances.groups)
            and (seen.anywhere or seen.place == circumstances.place)
        ):
            return seen.last
        return self._weigh_and_remember(seen, circumstances)

    def concerning(
        self,
        path: str,
        circumstances: Circumstances,
        *,
        sha256: str = "",
        package: str = "",
        origin: str = "",
    ) -> tuple[Concern, ...]:
        """Every rule that is about this program, and whether it holds now: for explanations."""
        rows = [self._rows[number] for number in self._matching(path, sha256, package, origin)]
        return tuple(
            Concern(
                row[0],
                row[1],
                row[2],
                holds=applies(row[3], row[1], self._otherwise, circumstances, self._clock),
                told=holds(row[3], circumstances, self._clock) is not None,
            )
            for row in rows
        )

    def _of_two_names(
        self, path: str, alias: str, circumstances: Circumstances, sha256: str, package: str, origin: str
    ) -> Verdict:
        numbers = {
            *self._matching(path, sha256, package, origin),
            *self._matching(alias, sha256, package, origin),
        }
        return self._weigh(tuple(sorted(numbers)), circumstances)

    def _look(self, path: str, sha256: str, package: str, origin: str) -> _Seen:
        """What there is to know of a program that was not asked for lately."""
        facts = sha256, package, origin
        numbers = self._matching(path, *facts)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
            self._unconcerned.clear()
        seen = None if numbers else self._unconcerned.get(facts)
        if seen is None:
            # Without a condition the circumstances make no difference.
            conditions = [self._rows[number][3] for number in numbers]
            seen = _Seen(facts, numbers, conditions, self._weigh(numbers, _ANY))
        if not numbers:
            self._unconcerned[facts] = seen
        self._seen[path] = seen
        return seen

    def _matching(self, path: str, sha256: str, package: str, origin: str) -> tuple[int, ...]:
        if self.needs_origin and not origin:
            origin = guessed_origin(path)
        found = self._index.find(path, sha256, package, origin)
        if found and self._unless is not None:
            found -= self._unless.find(path, sha256, package, origin)
        return tuple(sorted(found))

    def _weigh_and_remember(self, seen: _Seen, circumstances: Circumstances) -> Verdict:
        verdict = self._weigh(seen.numbers, circumstances)
        if seen.by_minute:
            seen.since = circumstances.now_ms // _MINUTE_MS * _MINUTE_MS
            seen.until = seen.since + _MINUTE_MS
            seen.place, seen.groups, seen.last = circumstances.place, circumstances.groups, verdict
        return verdict

    def _weigh(self, numbers: tuple[int, ...], circumstances: Circumstances) -> Verdict:
        rows = [self._rows[number] for number in numbers]
        holding = [
            (row[1], row[2], row[0])
            for row in rows
            if applies(row[3], row[1], self._otherwise, circumstances, self._clock)
        ]
        return strictest(holding, self._otherwise, steady=all(row[3] is None for row in rows))

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return {"format": _FORMAT, "otherwise": self._otherwise, "rules": self._rows}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ApplicationTable:
        """The table that was written; raises ``TableMistake`` when it is not one."""
        try:
            if data["format"] != _FORMAT:
                raise TableMistake(
                    f"the table's format is {data['format']}, not {_FORMAT}: restart the agent"
                )
            rows = [_row_from_json(entry) for entry in data["rules"]]
            otherwise = data["otherwise"]
            _check_decisions(rows, otherwise)
            return cls(rows, otherwise)
        except (KeyError, TypeError, ValueError, PatternMistake) as error:
            raise TableMistake(f"the table of applications cannot be read: {error!r}") from error


def _check_decisions(rows: Sequence[Row], otherwise: str) -> None:
    for decision in (otherwise, *(row[1] for row in rows)):
        if decision not in STRICTNESS:
            raise TableMistake(f"the decision {decision!r} is not known: update the agent")


def _row_from_json(entry: list[Any]) -> Row:
    rule_id, decision, mode, condition, matches, unless = entry
    return (
        rule_id,
        decision,
        mode,
        condition_from_json(condition),
        tuple((by, text) for by, text in matches),
        tuple((by, text) for by, text in unless),
    )


def applies(
    condition: Condition | None, decision: str, otherwise: str, circumstances: Circumstances, clock: ZoneClock
) -> bool:
    """Whether a rule holds now; what cannot be told counts for a rule that is stricter than ``otherwise``."""
    answer = holds(condition, circumstances, clock)
    if answer is None:
        return STRICTNESS[decision] > STRICTNESS[otherwise]
    return answer


def strictest(holding: list[tuple[str, str, str]], otherwise: str, *, steady: bool) -> Verdict:
    """The verdict of rules that hold, as (decision, mode, rule id)."""
    best = (STRICTNESS[otherwise], otherwise, otherwise, "")
    in_force = [(decision, rule_id) for decision, mode, rule_id in holding if mode not in _CAP]
    if in_force:
        # The rule's id makes the choice between equals the same whatever the order of rules.
        decision, rule_id = min(in_force, key=lambda one: (-STRICTNESS[one[0]], one[1]))
        best = (STRICTNESS[decision], decision, decision, rule_id)
    for decision, mode, rule_id in sorted(holding, key=lambda one: (-STRICTNESS[one[0]], one[2])):
        if mode in _CAP and STRICTNESS[decision] >= STRICTNESS[_CAP[mode]]:
            capped = _CAP[mode]
            if STRICTNESS[capped] > best[0]:
                best = (STRICTNESS[capped], capped, decision, rule_id)
    return Verdict(best[1], best[2], best[3], steady=steady)


def compile_applications(section: ApplicationsSection) -> ApplicationTable:
    """Compiles a section whole; raises ``TableMistake`` and changes nothing."""
    rows = [_compile_rule(rule) for rule in section.rules]
    otherwise = str(section.otherwise)
    if otherwise == "unspecified":
        otherwise = "allow"
    _check_decisions(rows, otherwise)
    try:
        return ApplicationTable(rows, otherwise)
    except PatternMistake as error:
        raise TableMistake(f"section 'applications': {error}") from error


def _compile_rule(rule: ApplicationRule) -> Row:
    where = f"rule {rule.text.rule_id!r}"
    if not rule.text.rule_id or str(rule.decision) == "unspecified":
        raise TableMistake(
            f"{where}: it needs an id and a decision (allow, observe, warn, block, block-and-raise)"
        )
    if not rule.matches:
        raise TableMistake(
            f"{where}: it names no application; give at least one path, pattern, name, hash or package"
        )
    try:
        condition = compile_condition(rule.when)
    except ConditionMistake as error:
        raise TableMistake(f"{where}: {error}") from error
    matches, unless = (
        tuple((str(match.by), _checked_text(str(match.by), match.text, where)) for match in given)
        for given in (rule.matches, rule.unless)
    )
    return rule.text.rule_id, str(rule.decision), mode_of(rule.text), condition, matches, unless


def mode_of(text: RuleText) -> str:
    """A mode that this agent does not know counts as in force: the stricter reading."""
    return str(text.mode) if str(text.mode) in _CAP else "enforce"


def _checked_text(by: str, text: str, where: str) -> str:
    if by == "unspecified":
        raise TableMistake(f"{where}: a way of matching that this agent does not know: update the agent")
    if by == "path" and not text.startswith("/"):
        raise TableMistake(f"{where}: {text!r} is not an absolute path; use a file name or start with '/'")
    if by == "file-name" and (not text or "/" in text):
        raise TableMistake(f"{where}: {text!r} is not a file's name; use a path for what holds a '/'")
    if by == "sha256" and (len(text) != 64 or text.strip("0123456789abcdef")):
        raise TableMistake(f"{where}: {text!r} is not a SHA-256 in 64 lower-case hexadecimal digits")
    if by == "origin" and text not in ORIGINS:
        raise TableMistake(f"{where}: {text!r} is no origin: give one of {', '.join(ORIGINS)}")
    if not text:
        raise TableMistake(f"{where}: an empty text matches nothing; leave it out")
    return text
