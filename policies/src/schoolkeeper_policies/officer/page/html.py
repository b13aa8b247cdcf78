"""The pages, as text. Everything that is not written here goes through ``html.escape``."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from schoolkeeper_policies.officer import grants, words
from schoolkeeper_policies.officer.page import key_html
from schoolkeeper_policies.officer.page.desk import Desk, Opened, OpenGrant
from schoolkeeper_policies.officer.review import BundleChange, Review, when
from schoolkeeper_policies.plan import Change, Direction
from schoolkeeper_proto import granting


def page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – schoolkeeper-officer</title>
<link rel="stylesheet" href="style.css">
<script src="passkey.js" defer></script>
</head>
<body>
<header><p><a href="./">schoolkeeper-officer</a> <span>on this machine only</span></p></header>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
<footer><p>This page is served by a program on this machine and ends when it is left alone.
Your key and your passphrase never leave it.</p></footer>
</body>
</html>
"""


def front(desk: Desk) -> str:
    who = f"{escape(desk.head.officer)} ({escape(str(desk.head.duty or 'root of trust'))})"
    items = "".join(_item(number, opened) for number, opened in enumerate(desk.opened))
    items += "".join(
        f'<li><a href="grant-{number}">Grant: {escape(grant.review.statement.kind.value)}</a>, {escape(grant.name)}: '
        f"<em>{'signed here' if grant.signed else 'waits'}</em></li>"
        for number, grant in enumerate(desk.grants)
    )
    listed = f'<ul class="changes">{items}</ul>' if items else "<p>Nothing is open yet.</p>"
    return page(
        "What waits for your signature",
        f"""<p>Key file of <strong>{who}</strong>: <code>{escape(str(desk.key))}</code>,
<a href="key">how it opens</a></p>
{listed}
<h2>Open a file</h2>
<form method="post" action="open" enctype="multipart/form-data">
<label for="file">The file from the console: a change (.skchange), a grant (.skgrant) or the school (.skschool)</label>
<input type="file" id="file" name="file" accept=".skchange,.skgrant,.skschool" required>
<button>Open and verify</button>
</form>
<h2>End</h2>
<form method="post" action="end"><button class="quiet">End this program</button></form>""",
    )


def change_page(number: int, opened: Opened, desk: Desk, fault: str = "") -> str:
    seen = opened.review
    parts = [
        _fault(fault),
        f"""<dl><dt>School</dt><dd>{escape(seen.school_name)} ({escape(seen.school_id)})</dd>
<dt>Change</dt><dd>{seen.version}, from the file {escape(opened.name)}</dd>
<dt>Holds until</dt><dd>{escape(when(seen.expires_unix_ms))}</dd>
<dt>Verified</dt><dd>from the root that this key is pinned to,
<code>{seen.seen.root_sha256.hex()[:16]}…</code>, to root {seen.seen.root_version}</dd></dl>""",
        _weakening(seen),
        *(_bundle(bundle) for bundle in seen.bundles),
        _list("Keys, addresses, people and other parts", seen.other),
        _reasons(seen),
        _list("Signatures", tuple(words.state_lines(seen))),
        _answer(number, opened),
        _sign(number, seen, desk),
    ]
    return page(f"Change {seen.version}", "\n".join(part for part in parts if part))


def grant_page(number: int, opened: OpenGrant, desk: Desk, fault: str = "") -> str:
    seen = opened.review
    stricter = seen.statement.kind in granting.STRICTER
    note = "It can only make things stricter." if stricter else "It makes things looser for a while."
    done = f"""<section class="done" role="status"><h2>Signed</h2>
<p><a href="grantfile-{number}" download>Save the grant</a> and hand it in, or give it to the next officer to sign.
<code>schoolkeeper-collector grant publish FILE</code> hands it to the devices.</p></section>"""
    parts = [
        _fault(fault),
        f"<p><strong>{escape(note)}</strong></p>",
        _list("What it does", tuple(grants.text(seen, desk.school))),
        done if opened.signed else "",
        _sign_form(f"signgrant-{number}", "grant", desk),
    ]
    return page(f"Grant: {seen.statement.kind.value}", "\n".join(part for part in parts if part))


def fault_page(title: str, message: str) -> str:
    return page(title, f'<p class="fault" role="alert">{escape(message)}</p><p><a href="./">Back</a></p>')


def outside_page(message: str) -> str:
    """For a visitor without the cookie: says nothing of any school."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>schoolkeeper-officer</title></head>
<body><main><h1>schoolkeeper-officer</h1><p>{escape(message)}</p></main></body></html>
"""


def _item(number: int, opened: Opened) -> str:
    seen = opened.review
    state = "signed here" if opened.answer else ("complete" if words.is_complete(seen) else "waits")
    weaker = f" <strong>weakens {len(seen.weakening)} safeguarding rule(s)</strong>" if seen.weakening else ""
    summary = escape(words.counts(seen.changes))
    return (
        f'<li><a href="change-{number}">Change {seen.version}</a> of {escape(seen.school_name)}: '
        f"{summary}.{weaker} <em>{state}</em></li>"
    )


def _weakening(seen: Review) -> str:
    if not seen.weakening:
        return ""
    lacks = "".join(f"<li>{escape(lack)}</li>" for lack in seen.lacks)
    said = f"<p>It may not be signed, because it lacks:</p><ul>{lacks}</ul>" if lacks else ""
    return f"""<section class="weaker" role="note"><h2>This change weakens safeguarding</h2>
<p>{len(seen.weakening)} safeguarding rule(s) become weaker, or cannot be compared.</p>{said}</section>"""


def _bundle(bundle: BundleChange) -> str:
    before = f"version {bundle.from_version}" if bundle.from_version else "a new group"
    if bundle.against:
        before += f" (compared with {bundle.against})"
    rows = "".join(_row(change) for change in _sorted(bundle.changes))
    table = (
        f"""<table><thead><tr><th scope="col">Which way</th><th scope="col">Rule</th><th scope="col">Before</th>
<th scope="col">After</th><th scope="col">Why so</th></tr></thead><tbody>{rows}</tbody></table>"""
        if rows
        else "<p>Nothing that a device decides or says changes.</p>"
    )
    return f"""<section><h2>Devices of the group {escape(bundle.group)}</h2>
<p>{escape(before)} becomes version {bundle.to_version}: {escape(words.counts(bundle.changes))}.</p>{table}</section>"""


def _row(change: Change) -> str:
    mark = ' <span class="tag">safeguarding</span>' if change.safeguarding else ""
    kind = change.direction.name.lower()
    where = f"<small>{escape(change.section)}, {escape(change.what)}</small>"
    said = (change.before or "–", change.after or "–", change.why)
    cells = "".join(f"<td>{escape(text)}</td>" for text in said)
    return (
        f'<tr class="{kind}"><td><span class="way">{escape(words.DIRECTION[change.direction])}</span>{mark}</td>'
        f'<th scope="row">{escape(change.rule_id)}<br>{where}</th>{cells}</tr>'
    )


_ORDER = (Direction.WEAKER, Direction.DIFFERENT, Direction.STRICTER, Direction.WORDS)


def _sorted(changes: tuple[Change, ...]) -> Iterator[Change]:
    """What weakens comes first, safeguarding before the rest."""
    yield from sorted(
        changes, key=lambda c: (_ORDER.index(c.direction), not c.safeguarding, c.section, c.rule_id)
    )


def _reasons(seen: Review) -> str:
    entry = seen.record
    if entry is None:
        return ""
    rows = [
        ("Reason", f"{entry.why or 'none was given'} (staged by {entry.staged_by or 'somebody unnamed'})")
    ]
    for what, given in (
        ("Technical risk assessment", entry.technical),
        ("Educational risk assessment", entry.educational),
        ("Leadership’s consent", entry.consent),
    ):
        if given is not None:
            rows.append((f"{what}, {given.by}", given.text))
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f"<section><h2>Reasons</h2><dl>{listed}</dl></section>"


def _list(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section><h2>{escape(title)}</h2><ul>{items}</ul></section>"


def _answer(number: int, opened: Opened) -> str:
    if not opened.answer:
        return ""
    return f"""<section class="done" role="status"><h2>Signed</h2>
<p><a href="answer-{number}" download>Save your signature</a> and hand it in: on the console’s page
“Changes that wait”, or with
<code>schoolkeeper-collector waiting --add FILE</code>. It holds signatures and nothing else.</p></section>"""


def _sign(number: int, seen: Review, desk: Desk) -> str:
    return "" if seen.lacks and desk.head.duty is not None else _sign_form(f"sign-{number}", "change", desk)


def _sign_form(action: str, what: str, desk: Desk) -> str:
    lock = desk.lock
    if lock.is_locked:
        return _fault("Too many wrong passphrases or passkeys: end this program and start it anew.")
    word = (
        """<label for="passphrase">Passphrase of your key</label>
<input type="password" id="passphrase" name="passphrase" autocomplete="off" required>"""
        if lock.is_protected
        else '<p class="fault">This key file has no passphrase: it belongs to a demonstration.</p>'
    )
    asked = key_html.ask(lock, action, f"Sign this {what} with a passkey") if lock.passkeys else ""
    return f"""<section><h2>Sign</h2><form method="post" action="{action}">
<p><label><input type="checkbox" name="read" value="yes" required> I have read what this {what} does,
and I answer for it as {escape(desk.head.officer)}.</label></p>
{word}<button>Sign this {what}</button>{asked}</form></section>"""


def key_page(desk: Desk, *, done: str = "", fault: str = "") -> str:
    said = f'<section class="done" role="status"><p>{escape(done)}</p></section>' if done else ""
    return page("How your key opens", said + _fault(fault) + key_html.body(desk.lock, desk.head))


def _fault(message: str) -> str:
    return f'<p class="fault" role="alert">{escape(message)}</p>' if message else ""
