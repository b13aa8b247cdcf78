"""Tests of the core read as scripts: what is seen, and what must follow.

Playbook(policy, able={"media"}).sees(MediumArrived(medium=STICK)).records("media.attached").enforces("media")
"""

from typing import Self, TypeVar

from schoolkeeper_agent import core
from schoolkeeper_agent.observations import Observation
from schoolkeeper_agent.seams import Effect, Enforce, Record, Tell
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle, build, open_bundle

MONDAY_10 = 1_795_428_000_000
"""Monday, 23 November 2026, 10:00 UTC, in Unix milliseconds."""
E = TypeVar("E", Record, Tell, Enforce)
EVERY_KIND = tuple(cls.KIND for cls in model.BODY_CLASSES)


def bundle_of(
    *sections: policy.Section, kinds: tuple[str, ...] = EVERY_KIND, off_site: bool = True
) -> OpenBundle:
    """A bundle that went through its bytes, with a notice text for each kind."""
    collected = policy.CollectionSection(
        kinds=tuple(
            policy.CollectedKind(kind=kind, notice=f"We note {kind}.", off_site=off_site) for kind in kinds
        ),
        pseudonym_key=b"k" * 32,
        shared_accounts=("reception",),
    )
    data = build(
        school_id="school.example",
        group="ks2",
        version=7,
        compiled_at_unix_ms=MONDAY_10,
        sections=(*sections, collected),
    )
    return open_bundle(data, school_id="school.example", group="ks2", capabilities=frozenset())


class Playbook:
    """Feeds the core; every effect must be claimed before the next observation is fed."""

    def __init__(
        self,
        bundle: OpenBundle,
        *,
        able: set[str] | None = None,
        now: int = MONDAY_10,
        place: model.Place = model.Place.ON_SITE,
    ) -> None:
        self.now = now
        self.state = core.initial(bundle, run_id=b"run", able=frozenset(able or ()), place=place)
        self.effects: list[Effect] = []

    def later(self, seconds: float) -> Self:
        self.now += round(seconds * 1000)
        return self

    def sees(self, observation: Observation) -> Self:
        assert not self.effects, f"not claimed: {self.effects}"
        self.state, effects = core.handle(self.state, observation, self.now)
        self.effects = list(effects)
        return self

    def records(self, kind: str, **fields: object) -> Self:
        """The next effect writes down this kind, with these fields of body or record."""
        effect = self._take(Record)
        assert kind == effect.body.KIND, effect
        for name, value in fields.items():
            holder = effect if name in ("lane", "severity", "user") else effect.body
            assert getattr(holder, name) == value, (name, effect)
        return self

    def tells(self, *words: str) -> Self:
        effect = self._take(Tell)
        said = f"{effect.title}\n{effect.text}"
        for word in words:
            assert word in said, said
        return self

    def enforces(self, enforcer: str, action: object = None) -> Self:
        effect = self._take(Enforce)
        assert effect.enforcer == enforcer
        if action is not None:
            assert effect.action == action
        return self

    def nothing(self) -> Self:
        assert not self.effects, self.effects
        return self

    def _take(self, kind: type[E]) -> E:
        assert self.effects, f"no effect is left; {kind.__name__} expected"
        effect = self.effects.pop(0)
        assert isinstance(effect, kind), effect
        return effect
