"""What the agreement's window says beside the agreement itself, in English and in Welsh: plain, short, no threat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schoolkeeper_agent.session.agreeing_lines import Answer, By, Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """One language. ``{...}`` is filled in."""

    language: str
    title: str
    by: Mapping[By, str]
    by_adult: str
    later: str
    again: str
    other_language: str
    tell: str
    close: str
    nothing_waits: str
    put_off: str
    put_off_often: str
    agreed: str
    deferred: str
    agreed_before: str
    whys: Mapping[Why, str]
    nobody_asks: str
    not_ready: str
    not_reached: str
    asks: str
    answers: Mapping[str, str]
    choose: str


ENGLISH = Says(
    language="en",
    title="Rules for using this device",
    by={
        By.SELF: "I agree",
        By.STAFF: "I am staff. We read it together, and we agree.",
        By.PARENT: "I am a parent or carer. We read it together, and we agree.",
    },
    by_adult="An adult answers this, for whoever uses this account.",
    later="Not now",
    again="Read it again",
    other_language="Cymraeg",
    tell="Tell someone",
    close="Close",
    nothing_waits="You can put it off. Nothing is locked, and you are asked again on another day.",
    put_off="School sees that it was put off. After {allowed} times somebody may talk with you about it.",
    put_off_often="It was put off {times} times. School sees that, and somebody may talk with you about it.",
    agreed="Thank you. It is written down on this device, and goes to school by itself.",
    deferred="Put off. You are asked again on another day.",
    agreed_before="It was agreed to on {day}.",
    whys={
        Why.NONE: "",
        Why.CHANGED: "The rules have just changed: nothing was written down. Please read the new ones.",
        Why.NOT_SHOWN: "It was not shown here yet: nothing was written down. Please read it first.",
        Why.WHO: "Somebody else has to answer this: nothing was written down.",
        Why.NOT_KEPT: "This device could not write it down. Please try again later.",
    },
    nobody_asks="Nobody asks this account to agree to rules on this device.",
    not_ready="The rules cannot be shown just now. Please try again in a minute.",
    not_reached="The school's program on this device cannot be reached ({because}). Nothing was written down.",
    asks="Type one of these, then Enter. Enter alone: {later}.",
    answers={
        "self": "yes", "staff": "staff", "parent": "parent", "again": "again", "language": "cymraeg",
        "tell": "tell",
    },
    choose="Type one of the words.",
)  # fmt: skip

WELSH = Says(
    language="cy",
    title="Rheolau ar gyfer defnyddio'r ddyfais hon",
    by={
        By.SELF: "Rydw i'n cytuno",
        By.STAFF: "Rydw i'n aelod o staff. Darllenon ni hwn gyda'n gilydd, ac rydyn ni'n cytuno.",
        By.PARENT: "Rydw i'n rhiant neu'n ofalwr. Darllenon ni hwn gyda'n gilydd, ac rydyn ni'n cytuno.",
    },
    by_adult="Oedolyn sy'n ateb hwn, dros bwy bynnag sy'n defnyddio'r cyfrif hwn.",
    later="Ddim nawr",
    again="Ei ddarllen eto",
    other_language="English",
    tell="Dweud wrth rywun",
    close="Cau",
    nothing_waits="Cei ei ohirio. Does dim yn cael ei gloi, a chei dy holi eto ar ddiwrnod arall.",
    put_off=(
        "Mae'r ysgol yn gweld iddo gael ei ohirio. Ar ôl {allowed} gwaith efallai y bydd rhywun yn siarad â thi "
        "amdano."
    ),
    put_off_often=(
        "Cafodd ei ohirio {times} gwaith. Mae'r ysgol yn gweld hynny, ac efallai y bydd rhywun yn siarad â thi "
        "amdano."
    ),
    agreed="Diolch. Mae wedi'i nodi ar y ddyfais hon, ac mae'n mynd i'r ysgol ohono'i hun.",
    deferred="Wedi'i ohirio. Cei dy holi eto ar ddiwrnod arall.",
    agreed_before="Cytunwyd iddo ar {day}.",
    whys={
        Why.NONE: "",
        Why.CHANGED: "Mae'r rheolau newydd newid: ni nodwyd dim. Darllen y rhai newydd.",
        Why.NOT_SHOWN: "Nid yw wedi'i ddangos yma eto: ni nodwyd dim. Darllen ef yn gyntaf.",
        Why.WHO: "Rhaid i rywun arall ateb hwn: ni nodwyd dim.",
        Why.NOT_KEPT: "Ni allai'r ddyfais hon ei nodi. Rho gynnig arall arni wedyn.",
    },
    nobody_asks="Does neb yn gofyn i'r cyfrif hwn gytuno i reolau ar y ddyfais hon.",
    not_ready="Ni ellir dangos y rheolau nawr. Rho gynnig arall arni mewn munud.",
    not_reached="Ni ellir cyrraedd rhaglen yr ysgol ar y ddyfais hon ({because}). Ni nodwyd dim.",
    asks="Teipia un o'r rhain, yna Enter. Enter yn unig: {later}.",
    answers={
        "self": "ydw", "staff": "staff", "parent": "rhiant", "again": "eto", "language": "english",
        "tell": "dweud",
    },
    choose="Teipia un o'r geiriau.",
)  # fmt: skip


def says(language: str) -> Says:
    """English for every language that is not Welsh."""
    return WELSH if language[:2].lower() == "cy" else ENGLISH


def other(words: Says) -> Says:
    return ENGLISH if words.language == WELSH.language else WELSH


def who(answer: Answer) -> tuple[By, ...]:
    """Who may agree here."""
    return (By.STAFF, By.PARENT) if answer.by_adult else (By.SELF,)


def notes(words: Says, answer: Answer) -> tuple[str, ...]:
    """Below the text: who answers, that nothing waits for it, and what follows when it is put off."""
    if answer.agreed_unix_ms:
        day = datetime.fromtimestamp(answer.agreed_unix_ms / 1000, UTC).astimezone().strftime("%d/%m/%Y")
        return (words.agreed_before.format(day=day),)
    often = words.put_off_often if answer.put_off >= answer.allowed else words.put_off
    follows = often.format(times=answer.put_off, allowed=answer.allowed)
    return (*((words.by_adult,) if answer.by_adult else ()), words.nothing_waits, follows)
