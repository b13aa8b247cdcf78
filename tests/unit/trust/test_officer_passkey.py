"""A key file that a passkey opens beside the passphrase: what is taken, what is refused, what stays as it was."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from schoolkeeper_policies.officer import cli, key_ways, keyfile, passkey, ways
from schoolkeeper_policies.officer.page.challenges import MOST, SECONDS, Challenges
from schoolkeeper_policies.officer.page.lock import ADD, MAX_WRONG, REPLACE, Lock, LockError
from schoolkeeper_policies.officer.passkey import PasskeyError, to_text
from schoolkeeper_proto import trust
from support.authenticator import UP, UV, Authenticator

PASSPHRASE = "four quiet words here"
NEW_PASSPHRASE = "five other quiet words here"
ORIGIN = "http://localhost:7777"


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is the business of test_officer.py."""
    monkeypatch.setattr(ways, "LOG_N", 4)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "dsl.key"
    keyfile.save_keys(path, keyfile.new_keys("dsl", trust.Duty.SAFEGUARDING), PASSPHRASE)
    return path


@pytest.fixture
def lock(key: Path) -> Lock:
    made = Lock(key)
    made.origin = ORIGIN
    return made


@pytest.fixture
def token(lock: Lock) -> Authenticator:
    """A passkey that was added."""
    made = Authenticator(ORIGIN)
    add(lock, made)
    return made


def add(lock: Lock, token: Authenticator, **more: str) -> str:
    challenge = lock.ask(ADD)
    said = token.added(challenge, passkey.salt_for(challenge))
    return lock.add({"label": "blue  key", "passphrase": PASSPHRASE, "passkey": said, **more})


def salt(lock: Lock) -> bytes:
    return lock.passkeys[0].passkey.salt


def body_of(path: Path) -> dict[str, object]:
    lines = path.read_text().splitlines()
    return dict(json.loads(base64.b64decode("".join(lines[1:-1]))))


def write_body(path: Path, body: dict[str, object]) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], base64.b64encode(json.dumps(body).encode()).decode(), lines[-1]]))


def test_a_passkey_opens_the_same_keys_and_the_passphrase_stays(
    lock: Lock, key: Path, token: Authenticator
) -> None:
    answer = token.answer(lock.ask("sign-0"), salt(lock))
    by_passkey = lock.keys("sign-0", {"passkey": answer})
    by_passphrase = keyfile.load_keys(key, PASSPHRASE)
    assert by_passkey.signing.private_bytes_raw() == by_passphrase.signing.private_bytes_raw()
    assert by_passkey.sealing.private_bytes_raw() == by_passphrase.sealing.private_bytes_raw()
    assert by_passkey.duty is trust.Duty.SAFEGUARDING
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == ["dsl.key"]
    assert lock.passkeys[0].passkey.name == "blue key"
    text = json.dumps(body_of(key))
    assert token.prf_seed.hex() not in text
    assert by_passkey.signing.private_bytes_raw().hex() not in text


@pytest.mark.parametrize(
    "make", [ed25519.Ed25519PrivateKey.generate, lambda: rsa.generate_private_key(65537, 2048)]
)
def test_other_kinds_of_passkey_work_too(lock: Lock, make: Callable[[], ed25519.Ed25519PrivateKey]) -> None:
    token = Authenticator(ORIGIN, key=make())
    add(lock, token)
    assert lock.keys("sign-0", {"passkey": token.answer(lock.ask("sign-0"), salt(lock))}).officer == "dsl"


def test_an_answer_opens_once_and_for_one_purpose(lock: Lock, token: Authenticator) -> None:
    answer = token.answer(lock.ask("sign-0"), salt(lock))
    with pytest.raises(PasskeyError, match="answered already"):
        lock.keys("sign-1", {"passkey": answer})
    with pytest.raises(PasskeyError, match="answered already"):
        lock.keys("sign-0", {"passkey": answer})
    again = token.answer(lock.ask("sign-0"), salt(lock))
    lock.keys("sign-0", {"passkey": again})
    with pytest.raises(PasskeyError, match="answered already"):
        lock.keys("sign-0", {"passkey": again})


def test_questions_end_and_the_oldest_go_first() -> None:
    held = Challenges()
    first = held.ask("a", 0.0)
    assert held.take(first, "a", SECONDS) == first
    late = held.ask("a", 0.0)
    with pytest.raises(PasskeyError, match="too old"):
        held.take(late, "a", SECONDS + 1)
    oldest = held.ask("a", 0.0)
    newer = [held.ask("a", 0.0) for _ in range(MOST)]
    with pytest.raises(PasskeyError):
        held.take(oldest, "a", 0.0)
    assert held.take(newer[0], "a", 0.0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"origin": "http://localhost:7778"}, "and not by this page"),
        ({"origin": "http://evil.example"}, "and not by this page"),
        ({"cross_origin": True}, "and not by this page"),
        ({"rp_id": "evil.example"}, "another name than localhost"),
        ({"flags": UP}, "did not verify who you are"),
        ({"flags": UV}, "did not verify who you are"),
        ({"credential_id": b"another"}, "not one of this key file"),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, "signature is not valid"),
        ({"prf_seed": bytes(32)}, "another secret than when it was added"),
    ],
)
def test_what_a_passkey_may_not_say(
    lock: Lock, key: Path, token: Authenticator, wrong: dict[str, object], said: str
) -> None:
    bad = replace(token, **wrong)  # type: ignore[arg-type]
    with pytest.raises((PasskeyError, keyfile.KeyFileError), match=said):
        lock.keys("sign-0", {"passkey": bad.answer(lock.ask("sign-0"), salt(lock))})
    challenge = lock.ask(REPLACE)
    fields = {"new": NEW_PASSPHRASE, "again": NEW_PASSPHRASE}
    with pytest.raises((PasskeyError, keyfile.KeyFileError), match=said):
        lock.replace_passphrase({**fields, "passkey": bad.answer(challenge, salt(lock))})
    assert keyfile.load_keys(key, PASSPHRASE).officer == "dsl"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "{}",
        '{"got": 1}',
        '{"got": {"id": "%"}}',
        "x" * 20_000,
        "[" * 16_000,
        '{"got": {}}',
    ],
)
def test_what_is_no_answer_is_refused_with_words(lock: Lock, token: Authenticator, text: str) -> None:
    with pytest.raises(PasskeyError, match="is no passkey's answer"):
        lock.keys("sign-0", {"passkey": text})


@pytest.mark.parametrize(
    ("name", "value"),
    [("clientData", b"{"), ("clientData", b"[]"), ("clientData", b"\xff"), ("authenticatorData", b"short")],
)
def test_damaged_parts_are_refused(lock: Lock, token: Authenticator, name: str, value: bytes) -> None:
    answer = token.answer(lock.ask("sign-0"), salt(lock), **{name: to_text(value)})
    with pytest.raises(PasskeyError):
        lock.keys("sign-0", {"passkey": answer})


def test_a_secret_of_another_length_is_refused(lock: Lock, token: Authenticator) -> None:
    with pytest.raises(PasskeyError, match="no secret of the right length"):
        lock.keys("sign-0", {"passkey": token.answer(lock.ask("sign-0"), salt(lock), secret="AAAA")})


def test_a_passkey_is_added_only_by_who_knows_the_passphrase(lock: Lock, key: Path) -> None:
    before = key.read_bytes()
    token = Authenticator(ORIGIN)
    for fields, said in (
        ({"passphrase": "not the right words"}, "wrong passphrase"),
        ({"label": ""}, "name the passkey"),
        ({"label": "x" * 61}, "name the passkey"),
        ({"label": "a\x00b"}, "name the passkey"),
        ({"passkey": ""}, "needs JavaScript"),
        ({"passkey": token.answer(lock.ask(ADD), bytes(32))}, "is no passkey's answer"),
    ):
        with pytest.raises((PasskeyError, keyfile.KeyFileError), match=said):
            add(lock, token, **fields)
    assert key.read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"flags": UP}, "did not verify"),
        ({"origin": "http://evil.example"}, "not by this page"),
        ({"rp_id": "evil.example"}, "another name"),
    ],
)
def test_a_passkey_made_elsewhere_or_without_the_person_is_not_added(
    lock: Lock, key: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(PasskeyError, match=said):
        add(lock, replace(Authenticator(ORIGIN), **wrong))  # type: ignore[arg-type]
    assert key_ways.passkeys(key) == ()


def test_the_new_passkeys_own_data_must_agree(lock: Lock) -> None:
    token = Authenticator(ORIGIN)
    sealing_only = x25519.X25519PrivateKey.generate().public_key()
    for part, value, said in (
        ("id", b"another", "of another passkey"),
        ("publicKey", b"\x30\x00", "cannot be read"),
        (
            "publicKey",
            sealing_only.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "not known",
        ),
        ("authenticatorData", token._data(UP | UV), "no new passkey"),
    ):
        challenge = lock.ask(ADD)
        made = token.create(challenge, **{part: to_text(value)})
        text = json.dumps({"created": made, "got": token.get(challenge, passkey.salt_for(challenge))})
        with pytest.raises(PasskeyError, match=said):
            lock.add({"label": "x", "passphrase": PASSPHRASE, "passkey": text})


def test_a_forgotten_passphrase_is_replaced_by_a_passkey_alone(
    lock: Lock, key: Path, token: Authenticator
) -> None:
    def fields(**more: str) -> dict[str, str]:
        answer = token.answer(lock.ask(REPLACE), salt(lock))
        return {"new": NEW_PASSPHRASE, "again": NEW_PASSPHRASE, "passkey": answer, **more}

    for more, said in (
        ({"again": "another one here"}, "differ"),
        ({"new": "short", "again": "short"}, "four or more words"),
        ({"passkey": ""}, "needs JavaScript"),
    ):
        with pytest.raises((LockError, PasskeyError, keyfile.KeyFileError), match=said):
            lock.replace_passphrase(fields(**more))
    lock.replace_passphrase(fields())
    with pytest.raises(keyfile.KeyFileError, match="wrong passphrase"):
        keyfile.load_keys(key, PASSPHRASE)
    assert keyfile.load_keys(key, NEW_PASSPHRASE).officer == "dsl"
    assert lock.keys("sign-0", {"passkey": token.answer(lock.ask("sign-0"), salt(lock))}).officer == "dsl"


def test_removing_a_passkey_needs_the_passphrase_and_leaves_the_others(lock: Lock, key: Path) -> None:
    first, second = Authenticator(ORIGIN), Authenticator(ORIGIN)
    add(lock, first)
    add(lock, second, label="red key")
    gone, stays = (way.passkey for way in lock.passkeys)
    with pytest.raises(keyfile.KeyFileError, match="wrong passphrase"):
        lock.remove({"way": gone.way_id, "passphrase": "not the right words"})
    with pytest.raises(keyfile.KeyFileError, match="no passkey 'nothing'"):
        lock.remove({"way": "nothing", "passphrase": PASSPHRASE})
    assert lock.remove({"way": gone.way_id, "passphrase": PASSPHRASE}) == "blue key"
    with pytest.raises(PasskeyError, match="not one of this key file"):
        lock.keys("sign-0", {"passkey": first.answer(lock.ask("sign-0"), gone.salt)})
    assert lock.keys("sign-0", {"passkey": second.answer(lock.ask("sign-0"), stays.salt)}).officer == "dsl"


def test_too_many_wrong_attempts_of_either_kind_close_the_lock(lock: Lock, token: Authenticator) -> None:
    for number in range(MAX_WRONG):
        bad = {"passkey": "{"} if number % 2 else {"passphrase": "not the right words"}
        with pytest.raises((PasskeyError, keyfile.KeyFileError)):
            lock.keys("sign-0", bad)
    for act in (
        lambda: lock.keys("sign-0", {"passkey": token.answer(lock.ask("sign-0"), salt(lock))}),
        lambda: lock.keys("sign-0", {"passphrase": PASSPHRASE}),
        lambda: lock.remove({"way": lock.passkeys[0].passkey.way_id, "passphrase": PASSPHRASE}),
    ):
        with pytest.raises(LockError, match="start it anew"):
            act()


@pytest.mark.parametrize("part", ["name", "added", "credential_id", "public_key", "salt", "nonce", "wrapped"])
def test_a_way_that_was_edited_opens_nothing(lock: Lock, key: Path, token: Authenticator, part: str) -> None:
    asked = salt(lock)
    body = body_of(key)
    held = body["ways"]
    assert isinstance(held, list)
    held[1][part] = ("00" * 12) if part not in ("name", "added") else "other"
    write_body(key, body)
    way_id = lock.passkeys[0].passkey.way_id
    secret = passkey.read_answer(token.answer(bytes(32), asked)).secret
    with pytest.raises(keyfile.KeyFileError, match="altered"):
        keyfile.opened_by_passkey(key, way_id, secret)
    assert keyfile.load_keys(key, PASSPHRASE).officer == "dsl", "the passphrase still opens it"


def test_a_way_of_another_key_file_opens_nothing(lock: Lock, key: Path, token: Authenticator) -> None:
    """A thief adds their own passkey to their own file, and moves that way into the officer's."""
    theirs = key.with_name("theirs.key")
    keyfile.save_keys(theirs, keyfile.new_keys("dsl", trust.Duty.SAFEGUARDING), PASSPHRASE)
    their_lock, their_token = Lock(theirs), Authenticator(ORIGIN)
    their_lock.origin = ORIGIN
    add(their_lock, their_token)
    body, stolen = body_of(key), body_of(theirs)["ways"]
    held = body["ways"]
    assert isinstance(held, list)
    assert isinstance(stolen, list)
    held.append(stolen[1])
    write_body(key, body)
    answer = their_token.answer(lock.ask("sign-0"), salt(their_lock))
    with pytest.raises(keyfile.KeyFileError, match="altered"):
        lock.keys("sign-0", {"passkey": answer})


@pytest.mark.parametrize(
    "held",
    [[], {}, None, "x", [{}], [{"kind": "retina"}], [{"kind": "passphrase", "log_n": 30}], [1], [{}] * 13],
)
def test_ways_that_cannot_be_read_are_named(key: Path, held: object) -> None:
    write_body(key, {**body_of(key), "ways": held})
    with pytest.raises(keyfile.KeyFileError, match=r"dsl\.key"):
        keyfile.load_keys(key, PASSPHRASE)
    with pytest.raises(keyfile.KeyFileError, match=r"dsl\.key"):
        key_ways.passkeys(key)


def test_a_file_may_not_ask_for_much_memory(key: Path) -> None:
    body = body_of(key)
    held = body["ways"]
    assert isinstance(held, list)
    held[0]["log_n"] = 30
    write_body(key, body)
    with pytest.raises(keyfile.KeyFileError, match="more memory than any key file needs"):
        keyfile.load_keys(key, PASSPHRASE)


def test_a_file_of_the_first_form_is_read_and_gets_a_passkey(key: Path) -> None:
    """Written here by hand, as the first version of the program wrote it."""
    keys = keyfile.new_keys("it", trust.Duty.TECHNICAL)
    salted, nonce = os.urandom(16), os.urandom(12)
    head: dict[str, object] = {
        "officer": "it", "duty": "technical", "version": 1, "key_id": keyfile.owner_of(keys)["key_id"],
        "protection": "scrypt-aes256gcm", "log_n": 4, "salt": salted.hex(), "nonce": nonce.hex(),
    }  # fmt: skip
    secret = keys.signing.private_bytes_raw() + keys.sealing.private_bytes_raw()
    clear = json.dumps(head, sort_keys=True).encode()
    sealed = AESGCM(ways.derive(PASSPHRASE, salted, 4)).encrypt(nonce, secret, clear)
    write_body(key, {**head, "secret": sealed.hex()})
    assert keyfile.load_keys(key, PASSPHRASE).signing.private_bytes_raw() == keys.signing.private_bytes_raw()
    with pytest.raises(keyfile.KeyFileError, match="wrong passphrase"):
        keyfile.load_keys(key, "not the right words")
    assert key_ways.passkeys(key) == ()
    lock, token = Lock(key), Authenticator(ORIGIN)
    lock.origin = ORIGIN
    add(lock, token)
    assert body_of(key)["version"] == 2
    assert lock.keys("sign-0", {"passkey": token.answer(lock.ask("sign-0"), salt(lock))}).officer == "it"
    assert keyfile.load_keys(key, PASSPHRASE).officer == "it"


def test_a_demonstrations_file_takes_no_passkey(tmp_path: Path) -> None:
    path = tmp_path / "demo.key"
    keyfile.save_keys(path, keyfile.new_keys("it", trust.Duty.TECHNICAL), None)
    lock = Lock(path)
    lock.origin = ORIGIN
    with pytest.raises(keyfile.KeyFileError, match="a passkey would guard nothing"):
        add(lock, Authenticator(ORIGIN))


def test_a_stick_that_cannot_be_written_keeps_the_file_as_it_was(
    lock: Lock, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key.read_bytes()
    monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(keyfile.KeyFileError, match="was not changed: No space left"):
        add(lock, Authenticator(ORIGIN))
    assert key.read_bytes() == before


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_command_line_lists_and_removes(
    lock: Lock, key: Path, token: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    way_id = lock.passkeys[0].passkey.way_id
    shown = CliRunner().invoke(cli.app, ["keys", "ways", str(key)])
    assert shown.exit_code == 0
    assert f"passkey     {way_id}  blue key, added 20" in shown.output
    monkeypatch.setattr("getpass.getpass", lambda _: PASSPHRASE)
    wrong = CliRunner().invoke(cli.app, ["keys", "remove-passkey", str(key), "nothing"])
    assert (wrong.exit_code, "no passkey 'nothing'" in wrong.output) == (1, True)
    done = CliRunner().invoke(cli.app, ["keys", "remove-passkey", str(key), way_id])
    assert (done.exit_code, "'blue key' opens" in done.output) == (0, True)
    assert key_ways.passkeys(key) == ()
