"""What 'Tell someone' says, in English and in Welsh: plain, short, and never more than is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schoolkeeper_agent.session.telling_lines import About, Looks, Offer, State, To, Told, Why

EMERGENCY, CHILDLINE = "999", "0800 1111"


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """One language. ``{...}`` is filled in."""

    language: str
    title: str
    danger: str
    childline: str
    contacts: str
    monitored: str
    who_reads: str
    about_them: str
    to: Mapping[To, str]
    what_about: str
    about: Mapping[About, str]
    words: str
    words_hint: str
    keep: str
    who_are_you: str
    who_hint: str
    shared: str
    personal: str
    urgent: str
    quiet: str
    send: str
    close: str
    leave: str
    looks: Mapping[Looks, str]
    no_holidays: str
    officers_only: str
    nobody: str
    states: Mapping[State, str]
    whys: Mapping[Why, str]
    number: str
    look_again: str
    no_answer: str
    gone: str
    not_reached: str
    perhaps: str
    too_long: str
    asks_number: str
    asks_words: str
    asks_send: str
    yes: str
    choose: str
    not_sent: str
    days: tuple[str, ...]
    months: tuple[str, ...]
    moment: str


ENGLISH = Says(
    language="en",
    title="Tell someone",
    danger="In danger now? Call 999.",
    childline="Childline: 0800 1111. Free, day and night. The call is not on the phone bill.",
    contacts="At school:",
    monitored="What is monitored on this device: schoolkeeper-agent notice",
    who_reads="Who should read it?",
    about_them="Is it about one of them? Then choose another one.",
    to={
        To.DSL: "The person who keeps children safe here (safeguarding lead)",
        To.TRUSTED_ADULT: "An adult whom I trust: I write who. The safeguarding lead reads it first.",
        To.HEAD: "The head teacher",
        To.CHAIR: "The chair of governors",
    },
    what_about="What is it about?",
    about={
        About.HURT: "Somebody hurts me, or somebody else",
        About.ONLINE: "Something online, or a message",
        About.BULLYING: "Bullying",
        About.WORRIED: "I am worried or unhappy",
        About.OTHER: "Something else",
    },
    words="What do you want to say?",
    words_hint=(
        "At most 3,000 letters. Nothing can be attached: of a picture or a "
        "message, only say that there is one."
    ),
    keep="Did somebody send you something nasty? Do not reply, and keep the message.",
    who_are_you="Who are you? You may leave this empty.",
    who_hint="Your name, or your class. Nobody checks it.",
    shared="More than one person uses this account: school cannot see who you are unless you write it.",
    personal="School sees which account and which device this comes from.",
    urgent="I need help today",
    quiet="Show nothing of this on this device afterwards",
    send="Send",
    close="Close",
    leave="Leave at once (Esc)",
    looks={
        Looks.NOW: "School is open now. Somebody will look as soon as they can; it may take a while.",
        Looks.LATER: "School is closed now. It opens again on {when}. Perhaps nobody looks before then.",
        Looks.UNKNOWN: "It is not known here when somebody will look.",
    },
    no_holidays="(The holidays are not known here.)",
    officers_only="It is locked on this device so that only the people you choose can open it.",
    nobody=(
        "The school has named nobody here who can be written to. Go to an "
        "adult whom you trust, or call Childline."
    ),
    states={
        State.REFUSED: "Not sent. Nobody knows.",
        State.TAKEN: (
            "Not sent. Nobody knows yet. It could not be stored: it is lost if "
            "this device is switched off now."
        ),
        State.KEPT: "Not sent. Nobody knows yet. It goes by itself as soon as this device reaches the school.",
        State.DELIVERED: "Delivered. It is at school. As far as is known, nobody has read it yet.",
        State.READ: "Read. Somebody at school has opened it.",
        State.ASIDE: "Nobody has read it: the school's server could not take it. Please tell an adult.",
        State.UNKNOWN: "Nothing is known here of a message with this number from this account.",
    },
    whys={
        Why.NONE: "",
        Why.OFTEN: "Too many messages came from here within an hour. Please go to an adult, or call.",
        Why.STRANGER: "This account is not known on this device. Sign in, or go to an adult.",
        Why.RECIPIENT: "This person cannot be written to from here. Choose another one.",
        Why.EMPTY: "You have not written anything yet.",
        Why.NOT_READY: "This device cannot store it now. Try again in a minute, or go to an adult.",
    },
    number="Its number is {number}. Note it where only you see it.",
    look_again="To see later what became of it: schoolkeeper-agent tell --number {number}",
    no_answer="No answer comes to this account, because others use it, too.",
    gone="What you wrote cannot be read again on this device.",
    not_reached=(
        "Not sent. Nobody knows. The school's program cannot be reached on "
        "this device ({because}). Go to an adult."
    ),
    perhaps="It is not known whether this was sent: the school's program did not answer ({because}). Go to an adult.",
    too_long="This is too long. Please make it shorter; you can send a second message.",
    asks_number="Type a number, then Enter. Enter alone ends this, and nothing is sent.",
    asks_words="Type it. An empty line ends it.",
    asks_send="Send it now? Type yes, then Enter. Enter alone ends this, and nothing is sent.",
    yes="yes",
    choose="Please type one of the numbers.",
    not_sent="Nothing was sent.",
    days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    months=(
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November", "December",
    ),
    moment="{day} {date} {month} at {time}",
)  # fmt: skip

WELSH = Says(
    language="cy",
    title="Dweud wrth rywun",
    danger="Mewn perygl nawr? Ffonia 999.",
    childline="Childline: 0800 1111. Am ddim, ddydd a nos. Nid yw'r alwad ar y bil ffôn.",
    contacts="Yn yr ysgol:",
    monitored="Beth sy'n cael ei fonitro ar y ddyfais hon: schoolkeeper-agent notice",
    who_reads="Pwy ddylai ei ddarllen?",
    about_them="A yw'n ymwneud ag un ohonyn nhw? Yna dewis rywun arall.",
    to={
        To.DSL: "Y person sy'n cadw plant yn ddiogel yma (arweinydd diogelu)",
        To.TRUSTED_ADULT: (
            "Oedolyn rwy'n ymddiried ynddo: rwy'n ysgrifennu pwy. Yr arweinydd "
            "diogelu sy'n ei ddarllen gyntaf."
        ),
        To.HEAD: "Y pennaeth",
        To.CHAIR: "Cadeirydd y llywodraethwyr",
    },
    what_about="Am beth mae e?",
    about={
        About.HURT: "Mae rhywun yn fy mrifo i, neu rywun arall",
        About.ONLINE: "Rhywbeth ar-lein, neu neges",
        About.BULLYING: "Bwlio",
        About.WORRIED: "Rwy'n poeni neu'n anhapus",
        About.OTHER: "Rhywbeth arall",
    },
    words="Beth wyt ti eisiau ei ddweud?",
    words_hint="3,000 llythyren ar y mwyaf. Does dim modd atodi dim: am lun neu neges, dim ond dweud bod un.",
    keep="A anfonodd rhywun rywbeth cas atat ti? Paid ag ateb, a chadwa'r neges.",
    who_are_you="Pwy wyt ti? Cei adael hwn yn wag.",
    who_hint="Dy enw, neu dy ddosbarth. Does neb yn ei wirio.",
    shared=(
        "Mae mwy nag un person yn defnyddio'r cyfrif hwn: ni all yr ysgol weld "
        "pwy wyt ti oni bai dy fod yn ei ysgrifennu."
    ),
    personal="Mae'r ysgol yn gweld o ba gyfrif ac o ba ddyfais y daw hwn.",
    urgent="Mae angen help arna i heddiw",
    quiet="Peidio â dangos dim o hyn ar y ddyfais hon wedyn",
    send="Anfon",
    close="Cau",
    leave="Gadael ar unwaith (Esc)",
    looks={
        Looks.NOW: "Mae'r ysgol ar agor nawr. Bydd rhywun yn edrych cyn gynted ag y gallan nhw; gall gymryd amser.",
        Looks.LATER: "Mae'r ysgol ar gau nawr. Mae'n agor eto ar {when}. Efallai na fydd neb yn edrych cyn hynny.",
        Looks.UNKNOWN: "Nid yw'n hysbys yma pryd y bydd rhywun yn edrych.",
    },
    no_holidays="(Nid yw'r gwyliau'n hysbys yma.)",
    officers_only="Mae'n cael ei gloi ar y ddyfais hon fel mai dim ond y bobl a ddewisi all ei agor.",
    nobody=(
        "Nid yw'r ysgol wedi enwi neb yma y gellir ysgrifennu ato. Cer at "
        "oedolyn rwyt ti'n ymddiried ynddo, neu ffonia Childline."
    ),
    states={
        State.REFUSED: "Heb ei anfon. Does neb yn gwybod.",
        State.TAKEN: (
            "Heb ei anfon. Does neb yn gwybod eto. Nid oedd modd ei storio: bydd "
            "ar goll os caiff y ddyfais ei diffodd nawr."
        ),
        State.KEPT: (
            "Heb ei anfon. Does neb yn gwybod eto. Mae'n mynd ohono'i hun cyn "
            "gynted ag y bydd y ddyfais yn cyrraedd yr ysgol."
        ),
        State.DELIVERED: "Wedi cyrraedd. Mae yn yr ysgol. Hyd y gwyddys, does neb wedi ei ddarllen eto.",
        State.READ: "Wedi ei ddarllen. Mae rhywun yn yr ysgol wedi ei agor.",
        State.ASIDE: "Does neb wedi ei ddarllen: ni allai gweinydd yr ysgol ei gymryd. Dweda wrth oedolyn.",
        State.UNKNOWN: "Does dim yn hysbys yma am neges â'r rhif hwn o'r cyfrif hwn.",
    },
    whys={
        Why.NONE: "",
        Why.OFTEN: "Daeth gormod o negeseuon o'r fan hon o fewn awr. Cer at oedolyn, neu ffonia.",
        Why.STRANGER: "Nid yw'r cyfrif hwn yn hysbys ar y ddyfais hon. Mewngofnoda, neu cer at oedolyn.",
        Why.RECIPIENT: "Ni ellir ysgrifennu at y person hwn o'r fan hon. Dewis rywun arall.",
        Why.EMPTY: "Dwyt ti ddim wedi ysgrifennu dim eto.",
        Why.NOT_READY: "Ni all y ddyfais hon ei storio nawr. Rho gynnig arall arni mewn munud, neu cer at oedolyn.",
    },
    number="Ei rif yw {number}. Noda fe lle mai dim ond ti sy'n ei weld.",
    look_again="I weld wedyn beth ddaeth ohono: schoolkeeper-agent tell --number {number}",
    no_answer="Does dim ateb yn dod i'r cyfrif hwn, gan fod eraill yn ei ddefnyddio hefyd.",
    gone="Ni ellir darllen yr hyn a ysgrifennaist eto ar y ddyfais hon.",
    not_reached=(
        "Heb ei anfon. Does neb yn gwybod. Ni ellir cyrraedd rhaglen yr ysgol "
        "ar y ddyfais hon ({because}). Cer at oedolyn."
    ),
    perhaps="Nid yw'n hysbys a anfonwyd hwn: nid atebodd rhaglen yr ysgol ({because}). Cer at oedolyn.",
    too_long="Mae hwn yn rhy hir. Gwna fe'n fyrrach; cei anfon ail neges.",
    asks_number="Teipia rif, yna Enter. Mae Enter yn unig yn gorffen hyn, ac ni chaiff dim ei anfon.",
    asks_words="Teipia fe. Mae llinell wag yn ei orffen.",
    asks_send="Ei anfon nawr? Teipia ie, yna Enter. Mae Enter yn unig yn gorffen hyn, ac ni chaiff dim ei anfon.",
    yes="ie",
    choose="Teipia un o'r rhifau.",
    not_sent="Ni anfonwyd dim.",
    days=("dydd Llun", "dydd Mawrth", "dydd Mercher", "dydd Iau", "dydd Gwener", "dydd Sadwrn", "dydd Sul"),
    months=(
        "Ionawr", "Chwefror", "Mawrth", "Ebrill", "Mai", "Mehefin", "Gorffennaf", "Awst", "Medi", "Hydref",
        "Tachwedd", "Rhagfyr",
    ),
    moment="{day} {date} {month} am {time}",
)  # fmt: skip


def says(language: str) -> Says:
    """English for every language that is not Welsh."""
    return WELSH if language[:2].lower() == "cy" else ENGLISH


def help_now(words: Says) -> tuple[str, str]:
    """First of all, and whatever else works or does not."""
    return words.danger, words.childline


def when_looked(words: Says, offer: Offer) -> str:
    """When somebody will look, or that nobody knows."""
    text = words.looks[offer.looks]
    if offer.looks is Looks.LATER:
        text = text.format(when=moment(words, offer.looks_at_unix_ms))
        if not offer.holidays_known:
            text = f"{text} {words.no_holidays}"
    return text


def moment(words: Says, at_unix_ms: int) -> str:
    """In the device's own time."""
    at = datetime.fromtimestamp(at_unix_ms / 1000, UTC).astimezone()
    return words.moment.format(
        day=words.days[at.weekday()], date=at.day, month=words.months[at.month - 1], time=f"{at:%H:%M}"
    )


def outcome(words: Says, told: Told) -> str:
    """What is known of it, in a sentence or two."""
    why = words.whys[told.why]
    return f"{words.states[told.state]} {why}".strip()


def became(words: Says, offer: Offer, told: Told) -> tuple[str, ...]:
    """What became of a report that was just sent, when somebody looks, and what to keep."""
    looked = (when_looked(words, offer),) if told.state in (State.KEPT, State.DELIVERED, State.TAKEN) else ()
    return (outcome(words, told), *looked, *_to_keep(words, told, personal=offer.personal))


def _to_keep(words: Says, told: Told, *, personal: bool) -> tuple[str, ...]:
    """Nothing of it stays here."""
    if not told.number:
        return ()
    said = [words.number.format(number=told.number), words.look_again.format(number=told.number)]
    if not personal:
        said.append(words.no_answer)
    return (*said, words.gone)
