"""What one alert's page says: what happened, why, what is not known, how it is proved."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import insert

from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.model import AlertDetail, Audience, ProofState, Viewer
from schoolkeeper_collector.incidents.wording import details_of, tell, tell_fact
from schoolkeeper_collector.incidents.words import IngestKeys
from schoolkeeper_collector.store import tables
from schoolkeeper_policies.detection.records import FACT_KINDS
from schoolkeeper_proto import model
from schoolkeeper_proto.sealing import Binding, FieldContext, Recipient, seal_field
from support.detection import DSL, HOUR_MS, NOON_MS, SCHOOL, Bench, device_id, make_event, refused, user

DSL_VIEW = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)


def page(bench: Bench, **more: object) -> AlertDetail:
    file = CaseFile(bench.store, bench.rules, read_events=bench.read, **more)  # type: ignore[arg-type]
    (alert, *_) = file.alerts(DSL_VIEW, now_ms=NOON_MS)
    return file.alert(DSL_VIEW, alert.alert_id, now_ms=NOON_MS)


def test_a_page_says_what_happened_and_why_it_fired(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=bench.person("Robin", "pupil"))
    bench.run()
    detail = page(bench)
    (item,) = detail.what_happened
    assert item.text == "Tor Browser did not start: a rule refused it."
    assert (item.place, item.at_ms) == ("on-site", NOON_MS)
    assert ("account", "Robin") in item.details
    assert detail.why.source == ("T-17",)
    assert detail.why.explanation.startswith("The school's policy keeps programs from starting")
    assert "Whether the person whose account it was sat at the device." in detail.not_known


def test_what_went_round_a_rule_and_was_ended_is_not_said_to_have_simply_run() -> None:
    game = model.Application(path="/home/ann/game.sh", name="game.sh")
    assert tell(model.ApplicationStarted(application=game)) == "game.sh was started."
    ended = tell(model.ApplicationStarted(application=game, ended=True))
    assert ended == "game.sh was started round the rule that refuses it, and ended at once."


def test_proof_is_not_claimed_before_a_checkpoint_covers_it(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=user("x"))
    bench.run()
    detail = page(bench)
    assert detail.what_happened[0].proof is ProofState.WAITING
    assert "no published checkpoint" in detail.proof
    with bench.store.write() as connection:
        row = {"school_id": SCHOOL, "generation": 1, "size": 2, "root": b"r" * 32, "note": "", "at_ms": 0}
        connection.execute(insert(tables.checkpoints).values(row))
    detail = page(bench)
    assert detail.what_happened[0].proof is ProofState.IN_LOG
    assert detail.proof.startswith("All of it is signed by the device and in the log")


def test_a_checkpoint_of_an_earlier_generation_proves_nothing(bench: Bench) -> None:
    bench.event(bench.device(), refused(), who=user("x"))
    bench.run()
    with bench.store.write() as connection:
        row = {"school_id": SCHOOL, "generation": 7, "size": 99, "root": b"r" * 32, "note": "", "at_ms": 0}
        connection.execute(insert(tables.checkpoints).values(row))
    assert page(bench).what_happened[0].proof is ProofState.WAITING


def test_doubts_about_clock_place_gaps_and_lateness_are_said(bench: Bench) -> None:
    device = bench.device()
    late = NOON_MS + 50 * HOUR_MS
    bench.event(device, refused(), who=user("x"), received_ms=late, place=model.Place.UNKNOWN)
    gap = {"school_id": SCHOOL, "device_no": device, "epoch": b"e" * 16, "lane": "normal"}
    with bench.store.write() as connection:
        connection.execute(insert(tables.gaps).values(**gap, first_sequence=1, end_sequence=2, opened_ms=0))
    bench.run(late)
    said = " ".join(page(bench).not_known)
    for part in (
        "in school",
        "could not be compared",
        "2 days after it happened",
        "log is missing",
        "register",
    ):
        assert part in said, part


def test_an_erased_event_is_said_to_be_gone(bench: Bench) -> None:
    number = bench.event(bench.device(), refused(), who=user("x"))
    bench.run()
    del bench.held[number]
    file = CaseFile(bench.store, bench.rules, read_events=lambda *_: [])
    detail = file.alert(DSL_VIEW, file.alerts(DSL_VIEW, now_ms=NOON_MS)[0].alert_id, now_ms=NOON_MS)
    assert detail.what_happened == ()
    assert any("1 of the events it rests on were erased" in line for line in detail.not_known)


def report(bench: Bench, scheme: model.SealingScheme, key: X25519PrivateKey) -> None:
    """A pupil's report, sealed as a device seals it."""
    body = model.PersonReport(recipient="dsl", category="worried", urgent=True)
    event = make_event(body, number=1, who=bench.person("Robin", "pupil"))
    context = FieldContext(
        binding=Binding(school_id=SCHOOL, device_id=device_id("d1"), epoch=b"e" * 16),
        event_id=event.id,
        category="report",
    )
    recipients = [Recipient(name="collector", public_key=key.public_key())]
    words = seal_field(b"I am not well.", scheme, recipients, context)
    sealed = model.PersonReport(recipient="dsl", category="worried", urgent=True, words=words)
    bench.store_event(bench.device("d1"), make_event(sealed, number=1, who=user("Robin")))
    bench.run()


def test_a_childs_words_are_read_at_once_by_whom_it_chose(bench: Bench) -> None:
    key = X25519PrivateKey.generate()
    report(bench, model.SealingScheme.COLLECTOR, key)
    (words,) = page(bench, opener=IngestKeys([X25519PrivateKey.generate(), key])).reported
    assert (words.text, words.urgent, words.category) == ("I am not well.", True, "worried")
    for table in tables.SCHEMA.tables:
        assert "not well" not in repr(bench.rows(table))


@pytest.mark.parametrize(
    ("scheme", "opener", "because"),
    [
        (
            model.SealingScheme.COLLECTOR,
            IngestKeys([X25519PrivateKey.generate()]),
            "no key of this collector",
        ),
        (model.SealingScheme.COLLECTOR, None, "runs without its keys"),
        (model.SealingScheme.ANY_ONE, None, "schoolkeeper-officer"),
        (model.SealingScheme.ANY_TWO, None, "were not collected"),
    ],
)
def test_words_that_cannot_be_opened_say_why(
    bench: Bench, scheme: model.SealingScheme, opener: IngestKeys | None, because: str
) -> None:
    report(bench, scheme, X25519PrivateKey.generate())
    (words,) = page(bench, opener=opener).reported
    assert words.text is None
    assert because in words.because


@pytest.mark.parametrize("cls", model.BODY_CLASSES, ids=lambda cls: cls.KIND)
def test_every_kind_of_event_can_be_told(cls: type[model.Body]) -> None:
    given = {"application": model.Application(path="/x/y"), "medium": model.Medium(kernel_name="sdb")}
    texts = (
        "session_id",
        "technique",
        "check",
        "sensor",
        "resource",
        "what",
        "recipient",
        "lane",
        "provider",
        "rule_id",
        "state",
        "by",
    )
    given |= dict.fromkeys(texts, "a") | dict.fromkeys(("version", "document"), "a")  # type: ignore[arg-type]
    given |= dict.fromkeys(
        ("aggregate_id", "grant_id", "command_id", "canary_id", "bundle_hash"), os.urandom(16)
    )  # type: ignore[arg-type]
    given |= {
        "hour_start_unix_ms": 0,
        "isolated": True,
        "step_milliseconds": -1,
        "result": model.PostureResult.FAIL,
    }  # type: ignore[dict-item]
    names = {name for name in cls.__dataclass_fields__ if name in given}
    body = cls(**{name: given[name] for name in names})  # type: ignore[arg-type]
    assert tell(body).endswith(".")
    details_of(body)


def test_every_fact_can_be_told() -> None:
    for kind in FACT_KINDS:
        assert "noted" not in tell_fact(kind.removeprefix("fact.")), kind


def test_what_is_said_of_people_is_without_blame() -> None:
    """Describes what a device saw, never what somebody is."""
    from schoolkeeper_policies.detection.load import load_rules

    for rule in load_rules("default").rules.values():
        said = f"{rule.meta.headline} {rule.meta.explanation}".lower()
        assert not any(
            word in said for word in ("culprit", "offender", "guilty", "suspect", "abuser", "protected")
        )
