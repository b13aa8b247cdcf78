"""A pack's detection rules into one set: read, checked against what events have, wired and compiled."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_policies.detection import records
from schoolkeeper_policies.detection.limits import Limits, Read, limits_of, with_limits
from schoolkeeper_policies.detection.meta import RuleAudience, RuleMeta, RuleSubject
from schoolkeeper_policies.detection.ruleset import Correlator, DetectionRule, Detector, RuleSet
from schoolkeeper_policies.model import About, PackFile
from schoolkeeper_policies.parse import pack_folder, read_file
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.sigma import model as sigma
from schoolkeeper_policies.sigma.compile import compile_expression
from schoolkeeper_policies.sigma.parse import readable_rules
from schoolkeeper_policies.source import Source, read_all
from schoolkeeper_policies.validate import suggest, validate

_ABOUT_PEOPLE = (
    "person.report",
    "application.",
    "site.",
    "imported.alert",
    "network.filter_bypass",
    "session.signed_",
    "aup.",
    "media.copy",
)
"""Kinds that say what a person did: no rule for technicians may read them (prefixes)."""


def load_rules(name_or_path: str | Path, *, own_limits: bool = True) -> RuleSet:
    """The rules of a pack and of the pack it takes rules from; raises ``PolicyError`` with every mistake.

    ``own_limits``: with the limits that the pack sets; the tests inside the rules are about those they came with.
    """
    files: dict[str, str] = {}
    problems: list[Problem] = []
    folder: Path | None = pack_folder(name_or_path)
    limits: Limits = {}
    seen: set[Path] = set()
    while folder is not None and folder not in seen:
        seen.add(folder)
        for path in sorted((folder / "detection").glob("*.yaml")):
            name = str(path.relative_to(folder.parent))
            try:
                files[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 at byte {error.start}"
                problems.append(
                    Problem(position=Position(file=name), reason=reason, remedy="save it as UTF-8")
                )
        source, about = _about(folder, problems)
        if len(seen) == 1 and source is not None and about is not None:
            limits = limits_of(source, about)
        other = about.detection_from if about is not None else None
        folder = pack_folder(other) if other else None
    if problems:
        read, more = _read(files)
        raise PolicyError([*problems, *more, *_mistakes(read, sure=False)])
    rules = rules_of_texts(files, limits=limits)
    return rules if own_limits or not limits else rules_of_texts(files)


def _about(folder: Path, problems: list[Problem]) -> tuple[Source | None, About | None]:
    """What the pack says of itself. Only files that may hold the key ``pack`` are read: that is slow."""
    for path in sorted(folder.glob("*.yaml")):
        if b"pack" not in path.read_bytes():
            continue
        try:
            source = read_file(path, folder)
            about = validate(PackFile, source).pack
            if about is not None:
                return source, about
        except PolicyError as error:
            problems.extend(error.problems)
    return None, None


def rules_of_texts(files: dict[str, str], *, limits: Limits | None = None) -> RuleSet:
    """The set of all rules of these files (name -> text); raises ``PolicyError`` with every mistake."""
    read, problems = _read(files)
    sure = not problems
    if sure:
        read, problems = with_limits(read, limits or {})
    problems += _mistakes(read, sure=sure)
    if problems:
        raise PolicyError(problems)
    return _wire(read)


def _read(files: dict[str, str]) -> tuple[Read, list[Problem]]:
    """The rules that can be read, and the mistakes of those that cannot."""
    problems: list[Problem] = []
    read: Read = []
    for file, text in files.items():
        try:
            documents = read_all(text, file=file)
        except PolicyError as error:
            problems.extend(error.problems)
            continue
        rules, wrong = readable_rules(documents)
        problems.extend(wrong)
        for rule in rules:
            try:
                read.append((rule, _meta(rule, documents[rule.about.document])))
            except PolicyError as error:
                problems.extend(error.problems)
    return read, problems


def _mistakes(read: Read, *, sure: bool) -> list[Problem]:
    """What only the whole set shows. Not ``sure``: there may be rules that could not be read, so none is missed."""
    known = {rule.about.name: (rule, meta) for rule, meta in read}
    return [
        *_twice(read),
        *(problem for rule, meta in read for problem in _check(rule, meta, known, sure=sure)),
    ]


def _meta(rule: sigma.AnyRule, source: Source) -> RuleMeta:
    if not isinstance(rule.about.extension, dict):
        remedy = "add audience, subject, category, headline and explanation"
        raise PolicyError([source.problem((), "the key 'schoolkeeper' is missing", remedy)])
    return validate(RuleMeta, source, at=("schoolkeeper",))


def _twice(read: Read) -> list[Problem]:
    problems = []
    first: dict[str, Position] = {}
    for rule, _ in read:
        name = rule.about.name
        if name in first:
            reason = f"the rule {name!r} is already there, in {first[name]}"
            problems.append(Problem(position=rule.about.position, reason=reason, remedy="rename one of them"))
        first.setdefault(name, rule.about.position)
    return problems


# ---- what only the whole set shows --------------------------------------------------------------------------

_Known = dict[str, tuple[sigma.AnyRule, RuleMeta]]


def _check(rule: sigma.AnyRule, meta: RuleMeta, known: _Known, *, sure: bool) -> list[Problem]:
    problems = _references(rule, meta, known) if sure else []
    match rule:
        case sigma.Rule():
            problems += _plain(rule)
        case sigma.Correlation():
            problems += _correlation(rule, meta, known, sure=sure)
    kinds = [base.logsource.category for base in _bases(rule, known)]
    at = rule.about.position
    if meta.audience is RuleAudience.TECHNICIAN:
        if meta.subject not in (RuleSubject.DEVICE, RuleSubject.SCHOOL):
            reason = "a technician's item is about a device, never about a person"
            problems.append(Problem(position=at, reason=reason, remedy="write subject: device"))
        if personal := [kind for kind in kinds if kind.startswith(_ABOUT_PEOPLE)]:
            reason = f"a technician's rule may not read {', '.join(personal)}: it says what a person did"
            problems.append(Problem(position=at, reason=reason, remedy="write audience: safeguarding"))
    if meta.subject is RuleSubject.REPORT and any(kind != "person.report" for kind in kinds):
        reason = "'subject: report' is for person.report only"
        problems.append(Problem(position=at, reason=reason, remedy="write user or device"))
    return problems


def _bases(rule: sigma.AnyRule, known: _Known) -> list[sigma.Rule]:
    if isinstance(rule, sigma.Rule):
        return [rule]
    found = (known[name][0] for name, _ in rule.rules if name in known)
    return [base for base in found if isinstance(base, sigma.Rule)]


def _references(rule: sigma.AnyRule, meta: RuleMeta, known: _Known) -> list[Problem]:
    return [
        Problem(
            position=rule.about.position,
            reason=f"'recovered_by' names {name!r}, which is no plain rule",
            remedy=suggest(name, sorted(known), "rules"),
        )
        for name in meta.recovered_by
        if name not in known or not isinstance(known[name][0], sigma.Rule)
    ]


def _plain(rule: sigma.Rule) -> list[Problem]:
    kind = rule.logsource.category
    at = rule.about.position
    if rule.logsource.product != "schoolkeeper" or rule.logsource.service:
        reason = f"the log source is {rule.logsource.product!r}"
        return [Problem(position=at, reason=reason, remedy="write product: schoolkeeper and a category")]
    if not records.is_kind(kind):
        known = sorted({*records.FACT_KINDS, *(cls.KIND for cls in records.event_classes())})
        return [
            Problem(position=at, reason=f"there is no kind {kind!r}", remedy=suggest(kind, known, "kinds"))
        ]
    fields = records.fields_of(kind)
    return [] if fields is None else _unknown(rule.fields, fields, kind)


def _unknown(named: tuple[tuple[str, Position], ...], fields: frozenset[str], kind: str) -> list[Problem]:
    return [
        Problem(
            position=at,
            reason=f"{kind} has no field {name!r}",
            remedy=suggest(name, sorted(fields), "its fields"),
        )
        for name, at in named
        if name not in fields
    ]


def _correlation(rule: sigma.Correlation, meta: RuleMeta, known: _Known, *, sure: bool) -> list[Problem]:
    problems = []
    for name, at in rule.rules if sure else ():
        if name not in known or not isinstance(known[name][0], sigma.Rule):
            remedy = suggest(name, sorted(known), "rules")
            problems.append(Problem(position=at, reason=f"{name!r} is no plain rule", remedy=remedy))
    wanted = {RuleSubject.USER: "subject", RuleSubject.DEVICE: "device"}.get(meta.subject)
    if wanted and wanted not in {name for name, _ in rule.group_by}:
        reason = f"an alert about a {meta.subject.value} needs '{wanted}' in group-by"
        problems.append(Problem(position=rule.about.position, reason=reason, remedy=f"add {wanted}"))
    named = (*rule.group_by, *(((rule.field, rule.about.position),) if rule.field else ()))
    for base in _bases(rule, known):
        fields = (
            records.fields_of(base.logsource.category) if records.is_kind(base.logsource.category) else None
        )
        if fields is not None:
            problems += _unknown(named, fields, base.logsource.category)
    return problems


# ---- wiring ----------------------------------------------------------------------------------------------


def _wire(read: Read) -> RuleSet:
    rules = {
        rule.about.name: DetectionRule(
            rule_id=rule.about.name,
            version=rule.about.version,
            title=rule.about.title,
            level=rule.about.level,
            meta=meta,
            position=str(rule.about.position),
        )
        for rule, meta in read
    }
    correlations = [rule for rule, _ in read if isinstance(rule, sigma.Correlation)]
    only_feed = {name for rule in correlations if not rule.generate for name, _ in rule.rules}
    by_kind: dict[str, list[Detector]] = {}
    for rule, meta in read:
        if not isinstance(rule, sigma.Rule):
            continue
        name = rule.about.name
        recovers = tuple(other.about.name for other, said in read if name in said.recovered_by)
        detector = Detector(
            rule=rules[name],
            kind=rule.logsource.category,
            matches=compile_expression(rule.expression),
            finds=not meta.silent and name not in only_feed,
            feeds=tuple(
                Correlator(rule=rules[other.about.name], correlation=other)
                for other in correlations
                if name in {base for base, _ in other.rules}
            ),
            recovers=recovers,
        )
        by_kind.setdefault(rule.logsource.category, []).append(detector)
    return RuleSet(
        rules=rules,
        by_kind={kind: tuple(detectors) for kind, detectors in by_kind.items()},
        tests=tuple(rule for rule, _ in read),
    )
