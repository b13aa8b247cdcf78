"""The page on how the key file opens, and the button that asks for a passkey in any form."""

from __future__ import annotations

import json
from html import escape

from schoolkeeper_policies.officer.keyfile import KeyHead
from schoolkeeper_policies.officer.page.lock import ADD, REMOVE, REPLACE, Lock
from schoolkeeper_policies.officer.passkey import MAX_NAME, RP_ID, salt_for, to_text
from schoolkeeper_policies.officer.ways import PasskeyWay

_ASK_PASSPHRASE = """<label for="{where}">Passphrase of your key</label>
<input type="password" id="{where}" name="passphrase" autocomplete="off" required>"""  # noqa: S105 - a field of a form


def ask(lock: Lock, purpose: str, words: str) -> str:
    """A button that asks for one of the passkeys; hidden until the page's script can do so."""
    held = [
        {"id": to_text(way.passkey.credential_id), "salt": to_text(way.passkey.salt)} for way in lock.passkeys
    ]
    return _button("get", words, {"challenge": to_text(lock.ask(purpose)), "credentials": json.dumps(held)})


def body(lock: Lock, head: KeyHead) -> str:
    if not lock.is_protected:
        return """<p class="fault">This key file belongs to a demonstration: it opens without a passphrase, and a
passkey would guard nothing.</p>"""
    found = lock.passkeys
    listed = "".join(f"<li>{_said(way)}</li>" for way in found)
    parts = [
        f"""<p>Each of these opens this file, and this copy of it alone:</p>
<ul><li>your passphrase, which is also the way back when a passkey is lost</li>{listed}</ul>""",
        _add(lock, head),
    ]
    if found:
        parts += [_remove(found), _new_passphrase(lock)]
    return "\n".join(parts)


def _add(lock: Lock, head: KeyHead) -> str:
    challenge = lock.ask(ADD)
    held = [{"id": to_text(way.passkey.credential_id)} for way in lock.passkeys]
    button = _button(
        "create",
        "Add a passkey",
        {
            "challenge": to_text(challenge),
            "salt": to_text(salt_for(challenge)),
            "user": to_text(head.key_id),
            "officer": head.officer,
            "credentials": json.dumps(held),
        },
    )
    return f"""<section><h2>Add a passkey</h2>
<p>A security key, a telephone, or this machine’s own fingerprint or PIN. The browser asks for it twice: to make
it, and for the secret that opens this file. It needs JavaScript; the passphrase works without.</p>
<form method="post" action="{ADD}">
<label for="label">Name, so that you know it again</label>
<input type="text" id="label" name="label" maxlength="{MAX_NAME}" autocomplete="off" required>
{_ASK_PASSPHRASE.format(where="add-passphrase")}{button}</form></section>"""


def _remove(found: tuple[PasskeyWay, ...]) -> str:
    ways = "".join(
        f'<p><label><input type="radio" name="way" value="{way.passkey.way_id}" required> {_said(way)}</label></p>'
        for way in found
    )
    return f"""<section><h2>Remove a passkey</h2>
<p>It opens this file no longer. A copy of the file from before still opens with it: if a passkey and a copy may be in
other hands, have your key replaced.</p>
<form method="post" action="{REMOVE}"><fieldset><legend>Which</legend>{ways}</fieldset>
{_ASK_PASSPHRASE.format(where="remove-passphrase")}<button>Remove this passkey</button></form></section>"""


def _new_passphrase(lock: Lock) -> str:
    return f"""<section><h2>A new passphrase for one that you forgot</h2>
<form method="post" action="{REPLACE}">
<label for="new">New passphrase (four or more words)</label>
<input type="password" id="new" name="new" autocomplete="new-password" required>
<label for="again">Once more</label>
<input type="password" id="again" name="again" autocomplete="new-password" required>
{ask(lock, REPLACE, "Set it with a passkey")}</form></section>"""


def _button(kind: str, words: str, data: dict[str, str]) -> str:
    given = " ".join(f'data-{name}="{escape(value)}"' for name, value in {**data, "rp": RP_ID}.items())
    return f"""<div data-ask="{kind}" {given} hidden><input type="hidden" name="passkey">
<button type="button">{escape(words)}</button><p class="fault" role="alert" hidden></p></div>"""


def _said(way: PasskeyWay) -> str:
    return f"the passkey “{escape(way.passkey.name)}”, added {escape(way.added)}"
