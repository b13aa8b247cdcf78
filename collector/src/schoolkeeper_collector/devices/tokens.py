"""Enrolment tokens in the store: made, checked and spent in one transaction. Only the secret's hash is kept."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.devices.ledger_note import note
from schoolkeeper_collector.devices.refusals import Reason, Refused
from schoolkeeper_collector.store.tables import tokens
from schoolkeeper_proto import enrolment_token

MAX_USES = 10_000


class TokenError(Exception):
    """A token that cannot be made or found; says why and what to do."""


class TokenState(StrEnum):
    OPEN = "open"
    SPENT = "spent"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    token_id: str
    group: str
    uses_allowed: int
    uses: int
    created_by: str
    expires_ms: int
    revoked_ms: int | None

    def state(self, now_ms: int) -> TokenState:
        if self.revoked_ms is not None:
            return TokenState.REVOKED
        if now_ms >= self.expires_ms:
            return TokenState.EXPIRED
        return TokenState.SPENT if self.uses >= self.uses_allowed else TokenState.OPEN


def create_token(
    connection: Connection,
    *,
    school_id: str,
    group: str,
    uses: int,
    lifetime_ms: int,
    root_sha256: bytes,
    ca_sha256: bytes,
    created_by: str,
    now_ms: int,
) -> enrolment_token.EnrolmentToken:
    """Stores a new token and returns the only copy of its secret. Raises ``TokenError``."""
    if not 0 < uses <= MAX_USES:
        raise TokenError(f"--uses is {uses}: 1 to {MAX_USES}")
    if lifetime_ms <= 0:
        raise TokenError("--expires lies in the past")
    token = enrolment_token.EnrolmentToken(
        token_id=os.urandom(8).hex(), secret=os.urandom(20), root_sha256=root_sha256, ca_sha256=ca_sha256
    )
    row = {
        "school_id": school_id,
        "token_id": token.token_id,
        "secret_hash": enrolment_token.secret_hash(token.secret),
        "device_group": group,
        "uses_allowed": uses,
        "uses": 0,
        "created_ms": now_ms,
        "created_by": created_by,
        "expires_ms": now_ms + lifetime_ms,
    }
    connection.execute(insert(tokens).values(row))
    note(connection, school_id, created_by, "token.created", f"token:{token.token_id}", now_ms)
    return token


def list_tokens(connection: Connection, school_id: str) -> list[TokenRow]:
    rows = connection.execute(
        select(tokens).where(tokens.c.school_id == school_id).order_by(tokens.c.created_ms)
    )
    return [_row(dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def revoke_token(connection: Connection, *, school_id: str, token_id: str, actor: str, now_ms: int) -> None:
    found = connection.execute(
        update(tokens)
        .where(tokens.c.school_id == school_id, tokens.c.token_id == token_id, tokens.c.revoked_ms.is_(None))
        .values(revoked_ms=now_ms)
    )
    if found.rowcount != 1:
        raise TokenError(f"no open token {token_id!r}: see `schoolkeeper-collector token list`")
    note(connection, school_id, actor, "token.revoked", f"token:{token_id}", now_ms)


def check_secret(connection: Connection, school_id: str, token_id: str, secret: bytes) -> TokenRow:
    """The token with this secret; one answer for an unknown id and a wrong secret. Raises ``Refused``."""
    row = connection.execute(
        select(tokens).where(tokens.c.school_id == school_id, tokens.c.token_id == token_id)
    ).first()
    given = enrolment_token.secret_hash(secret)
    if row is None or not hmac.compare_digest(bytes(row.secret_hash), given):
        raise Refused(
            Reason.TOKEN_UNKNOWN,
            "this collector did not issue this token: copy it whole from `token create` on this school's collector",
        )
    return _row(dict(row._mapping))  # noqa: SLF001


def spend(connection: Connection, school_id: str, token: TokenRow, now_ms: int) -> None:
    """Takes one use. Raises ``Refused`` when none is left."""
    remedy = "ask the technician for a new one: `schoolkeeper-collector token create`"
    match token.state(now_ms):
        case TokenState.REVOKED:
            raise Refused(Reason.TOKEN_REVOKED, f"the token was revoked; {remedy}")
        case TokenState.EXPIRED:
            raise Refused(Reason.TOKEN_EXPIRED, f"the token has expired; {remedy}")
        case TokenState.SPENT:
            raise Refused(
                Reason.TOKEN_SPENT, f"the token's {token.uses_allowed} enrolments are used up; {remedy}"
            )
        case TokenState.OPEN:
            pass
    connection.execute(
        update(tokens)
        .where(tokens.c.school_id == school_id, tokens.c.token_id == token.token_id)
        .values(uses=tokens.c.uses + 1)
    )


def _row(row: dict[str, object]) -> TokenRow:
    revoked = row["revoked_ms"]
    return TokenRow(
        token_id=str(row["token_id"]),
        group=str(row["device_group"]),
        uses_allowed=int(str(row["uses_allowed"])),
        uses=int(str(row["uses"])),
        created_by=str(row["created_by"]),
        expires_ms=int(str(row["expires_ms"])),
        revoked_ms=None if revoked is None else int(str(revoked)),
    )
