"""What the console keeps secret: passwords by argon2, second-factor keys under the console's key, tokens by hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# OWASP's second choice for Argon2id: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# So many at once: a flood of guesses must not take the collector's memory.
_AT_ONCE = threading.BoundedSemaphore(4)
# Compared for logins that do not exist, so that they take as long as those that do.
_NOBODY = _HASHER.hash(secrets.token_hex(16))
_NONCE = 12
_STEP_SECONDS = 30
_STEPS_OFF = (0, -1, 1)
"""A clock may be one step out either way (RFC 6238, section 5.2)."""

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256


class SecretError(Exception):
    """A stored secret does not open: another console key, or altered data."""


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password."""
    with _AT_ONCE:
        return _HASHER.hash(password)


def password_fits(stored: str | None, password: str) -> bool:
    """Compare a password; ``None`` stands for a login that does not exist, and takes the same time."""
    if len(password) > LONGEST_PASSWORD:
        password = ""
    with _AT_ONCE:
        try:
            _HASHER.verify(stored or _NOBODY, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
    return stored is not None


def password_fault(password: str, login: str) -> str:
    """Return what is wrong with a new password, as a sentence to translate; empty when nothing is."""
    if len(password) < SHORTEST_PASSWORD:
        return "Use at least 12 characters. Three random words are easy to remember."
    if len(password) > LONGEST_PASSWORD:
        return "Use at most 256 characters."
    if login.lower() in password.lower() or len(set(password.lower())) < 5:
        return "Choose a password that is harder to guess: without your sign-in name, and with more different letters."
    return ""


def new_token() -> str:
    """Return 256 random bits for a session's cookie."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """Return what is stored of a token: a stolen database opens no session."""
    return hashlib.sha256(b"schoolkeeper session\0" + token.encode()).digest()


def bucket(kind: str, value: str, console_key: bytes) -> bytes:
    """Name a sign-in counter without keeping the login or address itself."""
    return hmac.digest(console_key, f"attempts\0{kind}\0{value}".encode(), "sha256")


def new_second_factor() -> str:
    """Return 160 random bits in base 32 (RFC 4226, section 4)."""
    return pyotp.random_base32()


def second_factor_fault(secret: str) -> str:
    """Return what is wrong with a second-factor key that somebody chose; empty when nothing is."""
    try:
        pyotp.TOTP(secret).byte_secret()
    except ValueError as error:
        return f"the second-factor key is no base 32 of at least 112 bits: {error}"
    return ""


def seal(secret: str, *, account_id: str, console_key: bytes) -> bytes:
    """Encrypt a second-factor secret, bound to its account."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(console_key).encrypt(nonce, secret.encode(), b"totp\0" + account_id.encode())


def open_sealed(sealed: bytes, *, account_id: str, console_key: bytes) -> str:
    """Decrypt a second-factor secret; raises SecretError."""
    nonce, ciphertext = sealed[:_NONCE], sealed[_NONCE:]
    try:
        return AESGCM(console_key).decrypt(nonce, ciphertext, b"totp\0" + account_id.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise SecretError(
            f"the second factor of account {account_id} does not open with this console key; restore the key that "
            f"belongs to this database, or run: schoolkeeper-collector account reset"
        ) from error


def step_of(secret: str, code: str, now_ms: int) -> int | None:
    """Return the 30-second step for which a code is right, or None. Every step is compared in constant time."""
    digits = "".join(code.split())
    totp = pyotp.TOTP(secret, interval=_STEP_SECONDS)
    now = now_ms // 1000 // _STEP_SECONDS
    fitting = [
        now + off
        for off in _STEPS_OFF
        if hmac.compare_digest(totp.generate_otp(now + off).encode(), digits.encode())
    ]
    return fitting[0] if fitting else None


def code_at(secret: str, now_ms: int | None = None) -> str:
    """Return the code for a moment (Unix ms; now by default)."""
    seconds = time.time() if now_ms is None else now_ms / 1000
    return pyotp.TOTP(secret, interval=_STEP_SECONDS).generate_otp(int(seconds) // _STEP_SECONDS)


def set_up_address(secret: str, *, login: str, school: str) -> str:
    """Return the otpauth address that an authenticator app reads from the picture."""
    return pyotp.TOTP(secret, interval=_STEP_SECONDS).provisioning_uri(
        name=login, issuer_name=f"Schoolkeeper {school}"
    )
