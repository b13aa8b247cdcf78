"""What the command says to the person."""

from __future__ import annotations

YES = "LOSE IT"
QUESTION = f"Type {YES} to go on, anything else to leave it as it is: "
FIRST = "A passphrase for it (12 characters or more; three or four words are good): "
SECOND = "The same again: "
DIFFERENT = "These were not the same. Once more."
NOTHING_CHANGED = "Nothing was changed."
NOT_UNDERSTOOD = (
    "the school's agent says something that this program does not understand: is one of them older?"
)
LOST = (
    "the connection to the school's agent broke off. Pull the medium out and plug it in again: then you are told"
    " whether it was encrypted to the end"
)
CANCELLED = (
    "Cancelled. What was on it is lost in part or whole; it cannot be used before it is encrypted to the end:"
    " schoolkeeper-agent encrypt"
)
TITLE = "Encrypt this stick"
AGREE = "Everything on it may be lost: I have copied off what I need"
NOT_AGREED = "Tick the box first, when you have copied off what you need. Or leave: then nothing is changed."
START, LEAVE, CLOSE, STOP = "Encrypt it now", "Leave it as it is", "Close", "Stop"
SURE = "Stop? What was on it is lost in part or whole already, and it cannot be used before it is encrypted to the end."
_DOING = {
    "overwriting": "Making what was on it unreadable",
    "encrypting": "Encrypting",
}


_ON_IT = {
    "": "something on it that cannot be told: it may be encrypted already, in another way",
    "blank": "no files on it",
    "unfinished": "nothing on it that could be read: its encryption was begun and not ended",
}


def warning(device: str, size: int, holds: str) -> str:
    on_it = _ON_IT.get(holds, f"files on it (a file system of the kind {holds})")
    return (
        f"\n*** EVERYTHING ON THIS MEDIUM WILL BE LOST ***\n\n"
        f"{device}, {size / 1e9:.1f} GB, with {on_it}.\n"
        "No file on it can be brought back afterwards, by nobody. Copy off what you need FIRST.\n"
        f"It is overwritten from end to end: about {max(1, round(size / 8e6 / 60))} minutes. Leave it plugged in.\n"
    )


def another(why: str) -> str:
    return f"This will not do: {why}."


def no_service(why: str) -> str:
    return f"the school's agent does not encrypt media on this device ({why}): tell the technician"


def progress(doing: str, percent: int) -> str:
    named = _DOING.get(doing, doing)
    return f"{named}: {percent} %" if doing == "overwriting" else f"{named} …"


def finished(recovery_key: str, reference: str) -> str:
    return (
        "\nDone. Pull it out and plug it in again, on any computer: it asks for your passphrase.\n\n"
        f"Your recovery key (no. {reference}), shown this once. Write it down and keep it away from the stick:\n\n"
        f"    {recovery_key}\n\n"
        "It opens the stick when you forget the passphrase: type it in its place, with the hyphens. The school's"
        " technician can find it, too, sealed to them; nobody else at the school can."
    )
