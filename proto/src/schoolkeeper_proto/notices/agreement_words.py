"""What an acceptable-use agreement says beside the rules, in English at three reading levels, and what every language
must be able to say. A missing word is an error at import, not a gap in what somebody signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from schoolkeeper_proto.notices.facts import Audience, Thing


class Promise(StrEnum):
    """What the signer agrees to beside one promise for each kind of thing that is restricted (``Thing``)."""

    RULES = "rules"
    NOT_AROUND = "not-around"
    WARNINGS = "warnings"
    BY_MYSELF = "by-myself"
    COLLECTED = "collected"
    NOTHING_COLLECTED = "nothing-collected"
    SPEAK_UP = "speak-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementWords:
    """One language at one level. ``who_agrees`` heads the promises; ``sign`` are the lines to fill in by hand."""

    title: Mapping[Audience, str]
    introduction: Mapping[Audience, str]
    who_agrees: Mapping[Audience, str]
    promises: Mapping[Promise, str]
    things: Mapping[Thing, str]
    sign: tuple[str, ...]
    sign_together: tuple[str, ...]
    """For a child who does not sign alone, and for a parent: the child's name and the adult's."""
    version: str

    def __post_init__(self) -> None:
        missing: list[object] = [promise for promise in Promise if promise not in self.promises]
        missing += [thing for thing in Thing if thing not in self.things]
        for held in (self.title, self.introduction, self.who_agrees):
            missing += [audience for audience in Audience if audience not in held]
        if missing:
            raise ValueError(f"an agreement's words say nothing of {', '.join(map(str, missing))}")


PLAIN = AgreementWords(
    title={
        Audience.PUPIL: "Acceptable use agreement for pupils",
        Audience.STAFF: "Acceptable use agreement for staff",
        Audience.GUEST: "Acceptable use agreement for guests and visitors",
        Audience.PARENT: "Acceptable use agreement for pupils, to be read by parents and carers",
    },
    introduction={
        Audience.PUPIL: "These are the rules for using the school's devices. Read them, ask about what you do not "
        "understand, and then agree to them.",
        Audience.STAFF: "These are the rules for using the school's devices and its network for your work. Read them "
        "before you use a device, and agree to them.",
        Audience.GUEST: "These are the rules for using a device of the school while you are here. Read them before you "
        "use it, and agree to them.",
        Audience.PARENT: "These are the rules that your child agrees to. Please read them together.",
    },
    who_agrees={
        Audience.PUPIL: "What I agree to",
        Audience.STAFF: "What I agree to",
        Audience.GUEST: "What I agree to",
        Audience.PARENT: "What my child agrees to, and I have read",
    },
    promises={
        Promise.RULES: "I keep to the rules above.",
        Promise.NOT_AROUND: "I do not try to get around what is restricted, and I do not help anybody else to.",
        Promise.WARNINGS: "Where the device warns me, I stop and think whether I should go on.",
        Promise.BY_MYSELF: "I keep to the rules that the device does not check.",
        Promise.COLLECTED: "I have read what is collected about my use of the device, who can look, and for how long "
        "it is kept.",
        Promise.NOTHING_COLLECTED: "I have read that nothing about what I do is collected.",
        Promise.SPEAK_UP: "If something worries me or goes wrong, I tell somebody I trust. I may do that whether or "
        "not I have agreed to this.",
    },
    things={
        Thing.PROGRAM: "I do not try to start the programs named above while they are restricted.",
        Thing.MEDIUM: "I use sticks and disks only as it says above.",
        Thing.SCREEN: "I do not keep the screen from locking.",
        Thing.SITE: "I do not try to open the sites named above while they are restricted.",
        Thing.BROWSER: "I leave the browser's fixed settings as they are.",
        Thing.NETWORK: "I use no way into a network that is not allowed above.",
        Thing.PERIPHERAL: "I leave the parts of the device named above switched off.",
    },
    sign=("Name", "Signature", "Date"),
    sign_together=("Pupil's name", "Name of the adult who read this with them", "Adult's signature", "Date"),
    version="Agreement {document}, version {version}.",
)
JUNIOR = replace(
    PLAIN,
    title=dict.fromkeys(Audience, "Our rules for school laptops"),
    introduction=dict.fromkeys(
        Audience,
        "These are the rules for the school's laptops. Read them. Ask if there is something you do not know.",
    ),
    who_agrees=dict.fromkeys(Audience, "What I promise"),
    promises={
        Promise.RULES: "I keep these rules.",
        Promise.NOT_AROUND: "I do not try to trick the laptop, and I do not help others to.",
        Promise.WARNINGS: "When the laptop warns me, I stop and think.",
        Promise.BY_MYSELF: "I keep the rules that the laptop does not check, too.",
        Promise.COLLECTED: "I know what the laptop writes down, and who can look.",
        Promise.NOTHING_COLLECTED: "I know that the laptop writes down nothing about what I do.",
        Promise.SPEAK_UP: "If something worries me, I tell an adult I trust. I can always do that, even if I have not "
        "said yes to this.",
    },
    things={
        Thing.PROGRAM: "I do not try to start programs that are not allowed.",
        Thing.MEDIUM: "I use memory sticks only as it says here.",
        Thing.SCREEN: "I let the screen lock.",
        Thing.SITE: "I do not try to open websites that are not allowed.",
        Thing.BROWSER: "I leave the settings of the browser alone.",
        Thing.NETWORK: "I use only the internet that school allows.",
        Thing.PERIPHERAL: "I leave off what is switched off.",
    },
    sign=("My name", "Date"),
    sign_together=("My name", "The grown-up who read this with me", "Their signature", "Date"),
    version="These are the rules {document}, version {version}.",
)
EARLY = replace(
    JUNIOR,
    title=dict.fromkeys(Audience, "Our laptop rules"),
    introduction=dict.fromkeys(Audience, "Read this with a grown-up."),
    who_agrees=dict.fromkeys(Audience, "I promise"),
    promises={
        Promise.RULES: "I keep the rules.",
        Promise.NOT_AROUND: "I do not trick the laptop.",
        Promise.WARNINGS: "When it warns me, I stop and ask.",
        Promise.BY_MYSELF: "I keep our other rules, too.",
        Promise.COLLECTED: "I know what it tells the school.",
        Promise.NOTHING_COLLECTED: "I know that it tells nothing about me.",
        Promise.SPEAK_UP: "If I am sad or scared, I tell a grown-up. I can always tell.",
    },
    things={
        Thing.PROGRAM: "I only open what I may.",
        Thing.MEDIUM: "I ask before I plug in a stick.",
        Thing.SCREEN: "I let the screen go to sleep.",
        Thing.SITE: "I only look at websites for me.",
        Thing.BROWSER: "I do not change the settings.",
        Thing.NETWORK: "I use the school internet.",
        Thing.PERIPHERAL: "I leave off what is off.",
    },
)
