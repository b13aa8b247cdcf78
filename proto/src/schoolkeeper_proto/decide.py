"""A bundle as a device decides by it, and the words that the person at the screen reads. Pure.

The agent decides with exactly these tables and says exactly these words; so does everything that explains a policy or
tries it against what happened. There is no second engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances, ZoneClock, compile_condition, holds
from schoolkeeper_proto.matching import ApplicationTable, Concern, Verdict, compile_applications, mode_of
from schoolkeeper_proto.media_matching import MediaTable, MediaVerdict
from schoolkeeper_proto.peripheral_matching import PeripheralTable
from schoolkeeper_proto.policy import RuleText
from schoolkeeper_proto.site_matching import Row, SiteTable, compiled_row, concerns, weigh_rows

MEDIUM = "This removable medium"
ASK = "If you need it, ask your teacher or the school's technician."


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is shown to a person: one line, and the text below it."""

    title: str
    text: str


def refused_words(what: str, text: RuleText | None) -> Words:
    """To the person refused: what, why, and what they can do."""
    return _words(f"{what} is not allowed here", text)


def warned_words(what: str, text: RuleText | None) -> Words:
    return _words(f"Please do not use {what}", text)


def read_only_words(what: str, text: RuleText | None) -> Words:
    return _words(f"{what} can only be read here", text)


def asking_words(rule_id: str) -> str:
    """How to ask for an exception, where no button can be shown."""
    return f"To ask for an exception: schoolkeeper-agent ask {rule_id}"


def application_words(verdict: Verdict, path: str, text: RuleText | None) -> Words | None:
    """What is said about a program that somebody starts; None where nothing is said."""
    name = path.rpartition("/")[2] or path
    if verdict.refuses:
        return refused_words(name, text)
    return warned_words(name, text) if verdict.decision == "warn" else None


def opens_encrypted(rules: Iterable[policy.MediaRule], verdict: MediaVerdict) -> bool:
    """Whether the rule that limits a medium would let it be used if it were encrypted (LUKS)."""
    return verdict.access is not policy.MediaAccess.ALLOW and any(
        rule.text.rule_id == verdict.rule_id and rule.access is policy.MediaAccess.ENCRYPTED_ONLY
        for rule in rules
    )


def encrypting_words(kernel_name: str) -> str:
    """How a refused stick becomes one that may be used: said beside the refusal."""
    return (
        "You can encrypt it here and now, and use it then: everything that is on it is lost. "
        f"Copy off what you need first, then type in a terminal: schoolkeeper-agent encrypt {kernel_name}"
    ).rstrip()


def medium_words(
    verdict: MediaVerdict,
    text: RuleText | None,
    rules: Iterable[policy.MediaRule] = (),
    kernel_name: str = "",
) -> Words | None:
    """What is said about a medium that is plugged in; None where nothing is said.

    ``rules``: of the policy in force, for the offer to encrypt it where that would help.
    """
    if verdict.access in (policy.MediaAccess.BLOCK, policy.MediaAccess.READ_ONLY):
        said = refused_words if verdict.access is policy.MediaAccess.BLOCK else read_only_words
        words = said(MEDIUM, text)
        if not opens_encrypted(rules, verdict):
            return words
        return Words(title=words.title, text=f"{words.text}\n{encrypting_words(kernel_name)}")
    return warned_words(MEDIUM[:1].lower() + MEDIUM[1:], text) if verdict.mode == "warn" else None


def _words(title: str, text: RuleText | None) -> Words:
    if text is None:
        return Words(title=title, text=ASK)
    parts = (text.description, text.why and f"Why: {text.why}", text.resolution or ASK)
    return Words(title=title, text="\n".join(part for part in parts if part))


def texts_of(bundle: OpenBundle) -> dict[str, RuleText]:
    """Every rule's words, by rule id."""
    return {text.rule_id: text for text in _texts(bundle)}


def _texts(value: object) -> Iterator[RuleText]:
    for part in fields(value):  # type: ignore[arg-type]
        held = getattr(value, part.name)
        if isinstance(held, RuleText):
            yield held
        elif isinstance(held, policy.Section):
            yield from _texts(held)
        elif isinstance(held, tuple):
            for item in held:
                if isinstance(getattr(item, "text", None), RuleText):
                    yield item.text


class Engine:
    """Every table of one bundle, compiled whole; raises ``TableMistake``."""

    def __init__(self, bundle: OpenBundle) -> None:
        self.bundle = bundle
        self.applications: ApplicationTable = compile_applications(bundle.applications)
        self.media = MediaTable(bundle.media)
        self.sites = SiteTable(bundle.browser)
        self.texts = texts_of(bundle)
        self._clock = ZoneClock()
        self._uses = [(str(rule.use), rule.allowed, compiled_row(rule)) for rule in bundle.network.rules]
        self.peripherals = PeripheralTable(bundle.peripherals)

    def network(self, use: str, what: str = "") -> list[Row]:
        """The rules on a use of the network, as ``NetworkUse``; ``what`` is a name that a rule may leave out."""
        return [row for held, allowed, row in self._uses if held == use and what not in allowed]

    def peripheral(self, kind: str, what: str = "") -> list[Row]:
        """The rules on a built-in or attached thing, as ``PeripheralKind``; ``what`` is "vendor:product"."""
        return self.peripherals.rows(kind, what)

    def weigh(self, rows: list[Row], circumstances: Circumstances) -> Verdict:
        """What rules that all concern the same thing say of it together; without any, it is allowed."""
        return weigh_rows(rows, "allow", circumstances, self._clock)

    def concerning(self, rows: list[Row], circumstances: Circumstances) -> tuple[Concern, ...]:
        """Whether each of these rules holds."""
        return concerns(rows, "allow", circumstances, self._clock)

    def locks_after(self, circumstances: Circumstances) -> int:
        """Seconds without use until the screen locks here and now; 0 for never.

        Locking is the stricter side: what cannot be told counts as applying.
        """
        screen = self.bundle.screen
        if screen is None or mode_of(screen.text) != "enforce":
            return 0
        answer = holds(compile_condition(screen.when), circumstances, self._clock)
        return 0 if answer is False else screen.idle_lock_seconds
