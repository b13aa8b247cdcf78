"""The notices in English, at three reading levels."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_proto.notices.facts import Act, Audience, Family, Thing
from schoolkeeper_proto.notices.words import Words


def _kept(days: int) -> str:
    return f"Kept for {_period(days)} at most."


def _some_kept(days: int) -> str:
    return f"Some of it is kept for {_period(days)} at most."


def _period(days: int) -> str:
    if days >= 730 and days % 366 < 7:
        return f"{days // 366} years ({days} days)"
    return "1 day" if days == 1 else f"{days} days"


def _kept_simply(days: int) -> str:
    if days <= 31:
        return f"We keep it for up to {days} days."
    if days <= 366:
        return f"We keep it for up to a year ({days} days)."
    return f"We keep it for some years ({days} days at most)."


def _some_kept_simply(days: int) -> str:
    return f"We keep some of it for longer ({_period(days)} at most)."


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes} minute{'s' if minutes != 1 else ''}"] if minutes else []
    if rest:
        parts.append(f"{rest} second{'s' if rest != 1 else ''}")
    return " ".join(parts)


_NAMES = {
    "other-wireless": "other wireless networks",
    "hotspot": "making a hotspot",
    "tethering": "a phone's connection",
    "other-name-servers": "other name servers",
    "tunnel": "private tunnels (VPN)",
    "other-proxy": "other proxies",
    "remote-access": "control from elsewhere",
    "shared-folders": "shared folders",
    "camera": "the camera",
    "microphone": "the microphone",
    "bluetooth": "Bluetooth",
    "bluetooth-discoverable": "being found by Bluetooth",
    "phone": "phones that are plugged in",
    "external-camera": "cameras that are plugged in",
    "printer": "printers",
    "illegal": "illegal content",
    "vpn": "private tunnels (VPN)",
    "anonymiser": "what hides where one goes",
    "blogs": "blogs",
    "browsers": "web browsers",
    "dating": "dating",
    "discrimination": "discrimination",
    "drugs": "drugs",
    "extremism": "extremism",
    "gambling": "gambling",
    "games": "games",
    "hacking-tools": "tools for breaking into computers",
    "learning": "sites for lessons",
    "malware": "harmful programs",
    "pornography": "pornography",
    "search-for-children": "search made for children",
    "shopping": "shopping",
    "software-installers": "programs that install other programs",
    "streaming": "streaming",
    "violence": "violence",
    "virtual-machines": "computers within the computer",
    "social": "social networks",
    "messaging": "messaging and chat",
    "file-sharing": "file sharing",
    "artificial-intelligence": "artificial intelligence",
    "self-harm": "self-harm and suicide",
    "webmail": "personal e-mail",
    "video-calls": "video calls",
    "copyright-infringement": "copied films, music and programs",
    "private-business": "trading for oneself",
    "other-sites": "websites that are not on the school's list",
    "every-site": "websites",
}
_NOT_FOR_CHILDREN = dict.fromkeys(
    (
        "illegal",
        "pornography",
        "violence",
        "discrimination",
        "extremism",
        "self-harm",
        "drugs",
        "gambling",
        "dating",
        "malware",
        "alcohol",
        "weapons",
    ),
    "things that are not for children",
)

PLAIN = Words(
    title="What is monitored on this device",
    introduction={
        Audience.PUPIL: "This device belongs to the school. This page says what is restricted on it, what is noted "
        "about how you use it, who can look, and for how long it is kept.",
        Audience.STAFF: "This device belongs to the school and is provided for your work. This page says what is "
        "restricted on it, what is recorded, who can look, and for how long it is kept.",
        Audience.GUEST: "You are using a device of the school. This page says what is restricted on it, what is "
        "recorded, who can look, and for how long it is kept.",
        Audience.PARENT: "The school has given your child the use of a device. This page says what is restricted on "
        "it, what is recorded, who can look, and for how long it is kept. You may ask the school to see what is "
        "recorded about your child.",
    },
    restricted="What is restricted, and when",
    nothing_restricted="Nothing.",
    limit="No filter and no rule stops everything. If something worries you, tell somebody you trust.",
    collected="What is collected",
    nothing_collected="Nothing about what you do is collected.",
    always="The device also reports on itself: that it is on, its rules, and whether its protection was disturbed.",
    not_watched="What is not watched",
    never=(
        "What is typed.",
        "What the screen shows.",
        "The text of pages, messages or documents.",
        "The microphone and the camera.",
    ),
    not_checked="What the school's rules also say, and this device does not check",
    kept_longer="What is kept for longer",
    longer=(
        (
            "What somebody's safety rests on: while that is looked into, and for as long as the school must keep its "
            "record."
        ),
        (
            "What a court, the police or another authority needs: until they no longer do. Who decided so is written "
            "down."
        ),
    ),
    contacts="Whom to ask",
    no_contacts="Ask the school's office.",
    urgent="If somebody is in danger now, call 999. Children can call Childline on 0800 1111 at any time.",
    source="Made from policy version {version} ({hash}) of {school}.",
    families={
        Family.DEVICE: "That the device is on, and that the school's program on it works.",
        Family.PROTECTION: "That the school's program was ended or changed, or that the clock was moved.",
        Family.SIGN_IN: "When somebody signs in or out, and when the screen locks.",
        Family.PROGRAMS: "Programs that a rule of the school is about, when they are started or refused.",
        Family.PROGRAM_USE: "Which programs were open, by the hour.",
        Family.MEDIA: "Sticks and disks that are plugged in, and whether they may be used. Not what is on them.",
        Family.SITES: "Which kinds of sites were opened or refused, as counts.",
        Family.NETWORK: "Whether the device is in school.",
        Family.BYPASS: "Attempts to get around the web filter.",
        Family.ISOLATION: "When the device was cut off from the network, and when it was let back.",
        Family.POSTURE: "Whether the disk is encrypted, and updates, virus scanner and screen lock are in order.",
        Family.RULES: "Which of the school's rules are in force on the device.",
        Family.AGREEMENT: "That the rules for using the device were shown, and accepted or put off.",
        Family.ASKING: "What is asked for when something was refused, and the reason given.",
        Family.REPORT: "What is told through 'Tell someone'. Only the people who were chosen can read it.",
        Family.IMPORTED: "Alerts of the school's web filter or monitoring provider.",
        Family.OTHER: "Other things the school has named.",
    },
    acts={
        (Thing.PROGRAM, None): "Does not start{time}: {what}.",
        (Thing.PROGRAM, Act.BLOCK_AND_RAISE): "Does not start{time}, and the school is told at once: {what}.",
        (Thing.PROGRAM, Act.WARN): "{what}: you are warned{time}; it starts.",
        (Thing.MEDIUM, None): "{what} cannot be used{time}.",
        (Thing.MEDIUM, Act.READ_ONLY): "{what} can be read and not written to{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "{what} can be used only if encrypted{time}.",
        (
            Thing.MEDIUM,
            Act.ENCRYPTED_OR_READ,
        ): "{what} can be written to only if encrypted; others can be read{time}.",
        (Thing.MEDIUM, Act.WARN): "{what}: you are warned{time}; it can be used.",
        (Thing.SCREEN, None): "The screen locks after {what} without use{time}.",
        (Thing.SCREEN, Act.WARN): "You are asked to lock the screen after {what} without use{time}.",
        (Thing.SITE, None): "Cannot be opened{time}: {what}.",
        (
            Thing.SITE,
            Act.BLOCK_AND_RAISE,
        ): "Cannot be opened{time}, and the school is told of attempts: {what}.",
        (Thing.SITE, Act.WARN): "{what}: you are warned{time}; it opens.",
        (Thing.BROWSER, None): "Some settings of the browser are fixed{time}.",
        (Thing.NETWORK, None): "Not allowed{time}: {what}.",
        (Thing.NETWORK, Act.WARN): "You are warned{time}: {what}.",
        (Thing.PERIPHERAL, None): "Switched off{time}: {what}.",
        (Thing.PERIPHERAL, Act.WARN): "You are warned{time}: {what}.",
    },
    anything={
        Thing.PROGRAM: "a program that a rule names",
        Thing.MEDIUM: "A stick or disk",
        Thing.SCREEN: "some time",
        Thing.SITE: "a site that a rule names",
        Thing.BROWSER: "",
        Thing.NETWORK: "a way into a network",
        Thing.PERIPHERAL: "a part of the device",
    },
    names=_NAMES,
    readers={
        "dsl": "the designated safeguarding lead",
        "head": "the head",
        "chair": "the chair of governors",
        "trusted-adult": "an adult whom you name",
        "technician": "the technician",
        "pupil": "you",
        "staff": "staff",
    },
    who="Who can look: {readers}.",
    kept=_kept,
    some_kept=_some_kept,
    at_school_only="Only in school, not at home.",
    at_times_only="Only in school hours: {hours}.",
    stopped="Not collected at the moment: {why}.",
    days=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    times=lambda said: f" ({said})",
    day_range="{first} to {last}",
    joined=" and ",
    on_site="in school",
    off_site="out of school",
    some_days="in term time",
    some_people="for some people",
    exceptions="with exceptions",
    duration=_duration,
)

JUNIOR = replace(
    PLAIN,
    title="What this laptop notices",
    introduction=dict.fromkeys(
        Audience,
        "This laptop belongs to the school. Some things do not work on it, and it writes some things down. "
        "Here you can read what, and who can look.",
    ),
    restricted="What does not work, and when",
    nothing_restricted="Everything works.",
    limit="This does not stop everything that is wrong. If something worries you, tell an adult you trust.",
    collected="What it writes down",
    nothing_collected="It writes down nothing about what you do.",
    always="It also tells the school that it is on, and if somebody tried to break its protection.",
    not_watched="What it never looks at",
    never=(
        "What you type.",
        "What is on your screen.",
        "What is in your messages, pages and homework.",
        "You: it never uses the camera or the microphone to watch or listen.",
    ),
    not_checked="School rules that you must keep yourself: the laptop does not check them",
    kept_longer="Some things are kept for longer",
    longer=(
        "Things that help to keep somebody safe.",
        "Things that the police or a court ask for.",
    ),
    contacts="Who you can ask",
    no_contacts="Ask your teacher.",
    urgent="In danger? Call 999. Want to talk to somebody? Childline, 0800 1111, day and night, free.",
    families={
        **PLAIN.families,
        Family.DEVICE: "That the laptop is on and works.",
        Family.PROTECTION: "If somebody stopped the school's program or changed the clock.",
        Family.SIGN_IN: "When somebody signs in or out, and when the screen locks.",
        Family.PROGRAMS: "When a program from the list above is started or stopped.",
        Family.PROGRAM_USE: "Which programs were open, hour by hour.",
        Family.MEDIA: "When a memory stick is plugged in. Never what is on it.",
        Family.SITES: "How often some kinds of websites were opened.",
        Family.BYPASS: "If somebody tries to trick the web filter.",
        Family.ISOLATION: "When the laptop was taken off the internet, and when it was let back.",
        Family.POSTURE: "If the laptop is healthy: updates, virus scanner, screen lock.",
        Family.RULES: "Which school rules the laptop has.",
        Family.AGREEMENT: "That you were shown the rules and said yes, or not now.",
        Family.ASKING: "What you ask for when something does not work.",
        Family.REPORT: "What you tell with 'Tell someone'. Only the people you choose can read it.",
        Family.IMPORTED: "Warnings from the school's web filter.",
        Family.OTHER: "Other things that the school has named.",
    },
    acts={
        **PLAIN.acts,
        (Thing.PROGRAM, None): "Does not start{time}: {what}.",
        (
            Thing.PROGRAM,
            Act.BLOCK_AND_RAISE,
        ): "Does not start{time}, and a grown-up at school is told: {what}.",
        (Thing.PROGRAM, Act.WARN): "{what}: the laptop warns you{time}.",
        (Thing.MEDIUM, None): "{what} does not work{time}.",
        (Thing.MEDIUM, Act.READ_ONLY): "{what}: you can open files, not save them{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "{what} works only with a password on it{time}.",
        (
            Thing.MEDIUM,
            Act.ENCRYPTED_OR_READ,
        ): "{what}: you can open files; to save, it needs a password on it{time}.",
        (Thing.SCREEN, None): "The screen locks when nobody uses it for {what}{time}.",
        (Thing.SITE, None): "Does not open{time}: {what}.",
        (Thing.SITE, Act.BLOCK_AND_RAISE): "Does not open{time}, and a grown-up at school is told: {what}.",
    },
    anything={**PLAIN.anything, Thing.MEDIUM: "A memory stick"},
    names={**_NAMES, **_NOT_FOR_CHILDREN},
    readers={
        "dsl": "the grown-up who keeps children safe",
        "head": "the head teacher",
        "chair": "the person whom the head teacher answers to (the chair of governors)",
        "trusted-adult": "a grown-up whom you name",
        "technician": "the person who looks after the computers",
        "pupil": "you",
        "staff": "teachers",
    },
    kept=_kept_simply,
    some_kept=_some_kept_simply,
    at_school_only="Only in school, never at home.",
    stopped="Just now it does not do this: {why}.",
)

EARLY = replace(
    JUNIOR,
    title="Our school laptop",
    introduction=dict.fromkeys(
        Audience, "This is a school laptop. It helps us to be safe. Read this with a grown-up."
    ),
    restricted="What does not work",
    nothing_restricted="It all works.",
    limit="It cannot stop all bad things. If you see one, tell a grown-up.",
    collected="What it tells the school",
    nothing_collected="It tells nothing about you.",
    always="It tells the school that it is on.",
    not_watched="What it does not do",
    never=("It does not look at you.", "It does not listen to you.", "It does not read what you write."),
    not_checked="Rules that you keep by yourself",
    contacts="Ask",
    no_contacts="Ask your teacher.",
    urgent="Are you scared or hurt? Tell a grown-up now. Call 999. Or call Childline: 0800 1111.",
    families={
        **JUNIOR.families,
        Family.DEVICE: "That it is on.",
        Family.PROTECTION: "If somebody breaks it.",
        Family.SIGN_IN: "When somebody starts and stops using it.",
        Family.PROGRAMS: "If you try something that does not work here.",
        Family.PROGRAM_USE: "What was open, hour by hour.",
        Family.MEDIA: "If you plug in a memory stick.",
        Family.SITES: "What kinds of websites were opened.",
        Family.NETWORK: "If it is at school or not.",
        Family.BYPASS: "If somebody tricks the web filter.",
        Family.POSTURE: "If it is well.",
        Family.RULES: "Which rules it has.",
        Family.ASKING: "What you ask for.",
        Family.REPORT: "What you tell. Only the people you choose can read it.",
        Family.OTHER: "Some other things.",
    },
    acts={
        **JUNIOR.acts,
        (Thing.PROGRAM, None): "Does not open{time}: {what}.",
        (Thing.PROGRAM, Act.BLOCK_AND_RAISE): "Does not open{time}, and a grown-up is told: {what}.",
        (Thing.MEDIUM, Act.READ_ONLY): "{what}: you can look, not save{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "{what} needs a password{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_OR_READ): "{what}: you can look. To save, it needs a password{time}.",
        (Thing.SCREEN, None): "The screen goes to sleep after {what}{time}.",
    },
    at_school_only="Only at school.",
    readers={
        **JUNIOR.readers,
        "dsl": "the grown-up who keeps us safe",
        "technician": "the computer helper",
    },
)
