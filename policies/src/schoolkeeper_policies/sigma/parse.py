"""YAML documents into rules. What is outside the subset is refused with its place; every mistake is collected."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Final

from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.sigma import model
from schoolkeeper_policies.sigma.condition import ConditionRefused, parse_condition
from schoolkeeper_policies.sigma.fields import parse_selection
from schoolkeeper_policies.source import Path, Source, Value, read_all
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto.model import Severity

LEVELS: Final = tuple(level.value for level in Severity if level is not Severity.UNSPECIFIED)
_META: Final = frozenset(
    {
        "title",
        "id",
        "name",
        "description",
        "level",
        "status",
        "author",
        "date",
        "modified",
        "references",
        "tags",
    }
    | {"falsepositives", "license", "taxonomy", "related", "fields", "schoolkeeper", "tests"}
)
_RULE_KEYS: Final = _META | {"logsource", "detection"}
_CORRELATION_KEYS: Final = _META | {"correlation"}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
MAX_TIMESPAN_MS: Final = 30 * 86_400_000
MAX_COUNT: Final = 200


def parse_rules(text: str, *, file: str, foreign: bool = False) -> list[model.AnyRule]:
    """Every rule of a file; raises ``PolicyError`` with all mistakes of all its documents.

    ``foreign``: rules that no pack holds, as anybody publishes them. The Sigma specification wants title, log source
    and detection; name, id and level, by which a pack's alerts are told apart and sorted, may then be absent.
    """
    return rules_of_documents(read_all(text, file=file), foreign=foreign)


def rules_of_documents(documents: list[Source], *, foreign: bool = False) -> list[model.AnyRule]:
    """The same from a file that was read already: reading YAML is most of what it costs."""
    rules, problems = readable_rules(documents, foreign=foreign)
    if problems:
        raise PolicyError(problems)
    return rules


def readable_rules(
    documents: list[Source], *, foreign: bool = False
) -> tuple[list[model.AnyRule], list[Problem]]:
    """The rules without a mistake, and the mistakes of the others: to look for more of them."""
    rules: list[model.AnyRule] = []
    problems: list[Problem] = []
    for number, source in enumerate(documents):
        reader = _Document(source, number, foreign=foreign)
        rule = reader.rule()
        problems.extend(reader.problems)
        if rule is not None and not reader.problems:
            rules.append(rule)
    return rules, problems


class _Document:
    """Reads one document and gathers what is wrong with it."""

    def __init__(self, source: Source, number: int, *, foreign: bool) -> None:
        self._source = source
        self._number = number
        self._foreign = foreign
        self.problems: list[Problem] = []

    def rule(self) -> model.AnyRule | None:
        value = self._source.value
        if not isinstance(value, dict):
            self._wrong((), "a rule is keys and values", "begin with 'title: ...'")
            return None
        correlation = "correlation" in value
        self._known_keys(value, (), _CORRELATION_KEYS if correlation else _RULE_KEYS)
        about = self._about(value)
        return self._correlation(value, about) if correlation else self._plain(value, about)

    # ---- helpers: each notes a problem and goes on ------------------------------------------------------

    def _wrong(self, path: Path, reason: str, remedy: str = "") -> None:
        self.problems.append(self._source.problem(path, reason, remedy))

    def _known_keys(self, value: dict[str, Value], path: Path, known: frozenset[str]) -> None:
        for key in value:
            if key not in known:
                at = self._source.at_key((*path, key))
                remedy = suggest(key, sorted(known), "keys here")
                self.problems.append(
                    Problem(position=at, reason=f"{key!r} is not in the subset", remedy=remedy)
                )

    def _text(self, value: dict[str, Value], key: str, path: Path = (), *, needed: bool = False) -> str:
        found = value.get(key)
        if found is None and not needed:
            return ""
        if not isinstance(found, str) or not found.strip():
            self._wrong((*path, key), f"{key!r} must be a text", "add it, or put it in quotes")
            return ""
        return found.strip()

    def _texts(self, value: dict[str, Value], key: str, path: Path, *, needed: bool = False) -> list[str]:
        found = value.get(key)
        if isinstance(found, str):
            found = [found]
        if found is None and not needed:
            return []
        if not isinstance(found, list) or not found or not all(isinstance(item, str) for item in found):
            self._wrong((*path, key), f"{key!r} must be a text or a list of texts", "add it")
            return []
        return [str(item) for item in found]

    def _mapping(self, value: dict[str, Value], key: str, known: frozenset[str] | None) -> dict[str, Value]:
        found = value.get(key)
        if not isinstance(found, dict) or not found:
            self._wrong((key,), f"{key!r} must hold keys and values", "add it")
            return {}
        if known is not None:
            self._known_keys(found, (key,), known)
        return found

    # ---- what every rule says ---------------------------------------------------------------------------

    def _about(self, value: dict[str, Value]) -> model.About:
        name = self._text(value, "name")
        uuid = self._text(value, "id")
        title = self._text(value, "title", needed=True)
        if not self._foreign:
            self._named(name, uuid)
        level = self._text(value, "level", needed=not self._foreign)
        if level and level not in LEVELS:
            self._wrong(("level",), f"{level!r} is no level", f"one of: {', '.join(LEVELS)}")
            level = ""
        said = {key: item for key, item in value.items() if key != "tests"}
        return model.About(
            name=name or uuid or title,
            uuid=uuid,
            title=title,
            description=self._text(value, "description"),
            level=Severity(level) if level else Severity.UNSPECIFIED,
            version=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16],
            tags=tuple(self._texts(value, "tags", ())),
            extension=value.get("schoolkeeper"),
            tests=value.get("tests"),
            document=self._number,
            position=self._source.at(()),
        )

    def _named(self, name: str, uuid: str) -> None:
        if not name and not uuid:
            self._wrong((), "the rule has neither 'name' nor 'id'", "give it a name that never changes")
        if name and (not _NAME.fullmatch(name) or len(name) > 64):
            self._wrong(("name",), f"{name!r} is no name", "small letters, digits, '.', '-'; 64 at most")
        if uuid and not _UUID.fullmatch(uuid):
            self._wrong(("id",), f"{uuid!r} is no UUID", "make one with: python3 -m uuid")

    # ---- a plain rule -----------------------------------------------------------------------------------

    def _plain(self, value: dict[str, Value], about: model.About) -> model.Rule | None:
        logsource = self._mapping(
            value, "logsource", frozenset({"product", "category", "service", "definition"})
        )
        detection = self._mapping(value, "detection", None)
        selections: dict[str, model.Expression] = {}
        fields: dict[str, Position] = {}
        for name, selection in detection.items():
            if name == "condition":
                continue
            if name == "timeframe":
                self._wrong(("detection", name), "'timeframe' is not in the subset", "use a correlation rule")
                continue
            parsed = parse_selection(selection, ("detection", name), self._source, self.problems)
            if parsed is not None:
                selections[name] = parsed
                for test in tests_of(parsed):
                    fields.setdefault(test.field, test.position)
        expression = self._condition(detection, selections) if detection else None
        if expression is None:
            return None
        return model.Rule(
            about=about,
            logsource=model.Logsource(
                product=self._text(logsource, "product", ("logsource",)),
                category=self._text(logsource, "category", ("logsource",)),
                service=self._text(logsource, "service", ("logsource",)),
            ),
            expression=expression,
            fields=tuple(fields.items()),
        )

    def _condition(
        self, detection: dict[str, Value], selections: dict[str, model.Expression]
    ) -> model.Expression | None:
        path: Path = ("detection", "condition")
        text = detection.get("condition")
        if isinstance(text, list):
            self._wrong(path, "a list of conditions is not in the subset", "join them by 'or'")
            return None
        if not isinstance(text, str) or not selections:
            if not isinstance(text, str):
                self._wrong(path, "'condition' must be a text", "for example: condition: selection")
            elif not self.problems:
                self._wrong(("detection",), "there is no selection", "add one")
            return None
        try:
            expression, used = parse_condition(text, selections)
        except ConditionRefused as error:
            at = self._source.at(path)
            shown = f"condition, character {error.offset + 1}: {error}"
            self.problems.append(Problem(position=at, reason=shown, remedy=error.remedy))
            return None
        for name in selections:
            if name not in used and not name.startswith("_"):
                self._wrong(
                    ("detection", name), f"the selection {name!r} is not used", "name it, or remove it"
                )
        return expression

    # ---- a correlation ----------------------------------------------------------------------------------

    def _correlation(self, value: dict[str, Value], about: model.About) -> model.Correlation | None:
        path: Path = ("correlation",)
        known = frozenset({"type", "rules", "group-by", "timespan", "condition", "generate"})
        held = self._mapping(value, "correlation", known)
        kind = self._text(held, "type", path, needed=True)
        if kind not in set(model.CorrelationType):
            allowed = [member.value for member in model.CorrelationType]
            self._wrong(
                (*path, "type"),
                f"the correlation {kind!r} is not in the subset",
                f"one of: {', '.join(allowed)}",
            )
            return None
        rules = self._texts(held, "rules", path, needed=True)
        groups = self._texts(held, "group-by", path)
        generate = held.get("generate", False)
        if not isinstance(generate, bool):
            self._wrong((*path, "generate"), "'generate' must be true or false", "")
        if kind == model.CorrelationType.TEMPORAL and len(set(rules)) < 2:
            self._wrong(
                (*path, "rules"), "'temporal' needs two rules at least", "add one, or use event_count"
            )
        count, field = self._threshold(held, kind, len(set(rules)))
        return model.Correlation(
            about=about,
            type=model.CorrelationType(kind),
            rules=self._placed((*path, "rules"), rules),
            group_by=self._placed((*path, "group-by"), groups),
            timespan_ms=self._timespan(held),
            count=count,
            field=field,
            generate=generate is True,
        )

    def _placed(self, path: Path, texts: list[str]) -> tuple[tuple[str, Position], ...]:
        return tuple((text, self._source.at((*path, number))) for number, text in enumerate(texts))

    def _timespan(self, held: dict[str, Value]) -> int:
        path: Path = ("correlation", "timespan")
        found = _SPAN.fullmatch(self._text(held, "timespan", ("correlation",), needed=True))
        if not found:
            self._wrong(path, "'timespan' must be like 30s, 10m, 2h or 7d", "write one number and one unit")
            return 0
        span = int(found[1]) * _UNIT_MS[found[2]]
        if span > MAX_TIMESPAN_MS:
            self._wrong(path, "'timespan' is longer than 30 days", "events are not remembered for longer")
        return span

    def _threshold(self, held: dict[str, Value], kind: str, rules: int) -> tuple[int, str]:
        """(count, field of value_count). A temporal correlation needs all of its rules and has no condition."""
        path: Path = ("correlation", "condition")
        condition = held.get("condition")
        if kind == model.CorrelationType.TEMPORAL:
            if condition is not None:
                self._wrong(path, "'temporal' with a condition is not in the subset", "remove the condition")
            return rules, ""
        if not isinstance(condition, dict):
            self._wrong(path, f"{kind!r} needs a condition", "for example: condition: {gte: 3}")
            return 0, ""
        field = self._text(condition, "field", path, needed=kind == model.CorrelationType.VALUE_COUNT)
        bounds = [key for key in condition if key != "field"]
        if len(bounds) != 1 or bounds[0] not in {"gt", "gte"}:
            reason = f"only one of 'gt' and 'gte' can be awaited, not {', '.join(bounds) or 'nothing'}"
            self._wrong(path, reason, "an upper bound is known only when the time is over; write gte: N")
            return 0, field
        bound = condition[bounds[0]]
        if not isinstance(bound, int) or isinstance(bound, bool) or not 1 <= bound <= MAX_COUNT:
            self._wrong((*path, bounds[0]), f"must be a number from 1 to {MAX_COUNT}", "")
            return 0, field
        return bound + (bounds[0] == "gt"), field


def tests_of(expression: model.Expression) -> Iterator[model.FieldTest]:
    """Every field test inside an expression."""
    match expression:
        case model.FieldTest():
            yield expression
        case model.Not(part):
            yield from tests_of(part)
        case model.And(parts) | model.Or(parts):
            for part in parts:
                yield from tests_of(part)
