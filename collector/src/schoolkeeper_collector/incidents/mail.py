"""E-mail by SMTP (RFC 5321): one message, one connection, a deadline, and errors that name the remedy."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import Protocol, assert_never

TIMEOUT_SECONDS = 15


class MailError(Exception):
    """A message that was not taken; ``for_good`` when sending it again cannot help."""

    def __init__(self, said: str, *, for_good: bool = False) -> None:
        super().__init__(said)
        self.for_good = for_good


class MailSecurity(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"
    """Only for a mail server on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    host: str
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)


class Mailer(Protocol):
    def send(self, message: EmailMessage) -> None:
        """Returns once the server has taken the message; raises ``MailError``."""


class SmtpMailer:
    """Sends through the school's own mail server."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def send(self, message: EmailMessage) -> None:
        place = f"{self._server.host}:{self._server.port}"
        try:
            with self._connect() as connection:
                if self._server.user:
                    connection.login(self._server.user, self._server.password)
                connection.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise MailError(
                f"{place} does not take the address: {code} {_text(said)}", for_good=code >= 550
            ) from error
        except smtplib.SMTPAuthenticationError as error:
            raise MailError(
                f"{place} refused the sign-in ({error.smtp_code}): check smtp_user and its password"
            ) from error
        except smtplib.SMTPResponseException as error:
            raise MailError(f"{place} answered {error.smtp_code} {_text(error.smtp_error)}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise MailError(
                f"{place} cannot be reached: {error}; check smtp_host, smtp_port and the network"
            ) from error

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        match server.security:
            case MailSecurity.TLS:
                context = ssl.create_default_context()
                return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
            case MailSecurity.STARTTLS:
                connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
                connection.starttls(context=ssl.create_default_context())
                return connection
            case MailSecurity.NONE:
                return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
            case _:
                assert_never(server.security)


def notice_message(
    *, sender: str, to: str, link: str, school_id: str, identity: str, now_ms: int
) -> EmailMessage:
    """A notice: that there is something, and where. No name, no category, no device: mail is read by many eyes.

    ``identity`` makes the Message-ID, so that a message that was sent twice is recognised as one.
    """
    message = EmailMessage()
    message["Subject"] = "Schoolkeeper: something needs you now"
    message["From"] = sender
    message["To"] = to
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    digest = hashlib.sha256(f"{school_id}|{identity}".encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{digest}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "There is a new item that waits for you in Schoolkeeper.\n\n"
        f"{link}\n\n"
        "You will be asked to sign in. This message says nothing about what it is, on purpose.\n"
    )
    return message


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", errors="replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]
