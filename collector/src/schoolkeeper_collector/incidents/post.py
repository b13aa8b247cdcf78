"""The outbox of a running collector, from its settings."""

from __future__ import annotations

import asyncio
import time

import structlog

from schoolkeeper_collector.config import ConfigError, Settings
from schoolkeeper_collector.incidents.mail import MailSecurity, MailServer, SmtpMailer
from schoolkeeper_collector.incidents.notices import Outbox
from schoolkeeper_collector.store.database import Store

_EVERY_SECONDS = 2.0
_log = structlog.get_logger("notices")


def outbox_of(settings: Settings, store: Store, school_id: str) -> Outbox | None:
    """None, with a warning in the log, where no mail server is set. Raises ``ConfigError`` for half a setting."""
    if not settings.smtp_host:
        _log.warning("nobody is told by e-mail", remedy="set smtp_host, mail_from and console_url")
        return None
    for name in ("mail_from", "console_url"):
        if not getattr(settings, name):
            raise ConfigError(f"smtp_host is set and {name} is not: set {name}, or remove smtp_host")
    password = ""
    if settings.smtp_password_file is not None:
        try:
            password = settings.smtp_password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"smtp_password_file {settings.smtp_password_file}: {error.strerror}"
            ) from error
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=MailSecurity(settings.smtp_security),
        user=settings.smtp_user,
        password=password,
    )
    mailer = SmtpMailer(server)
    return Outbox(store, school_id, mailer, sender=settings.mail_from, console_url=settings.console_url)


async def keep_sending(outbox: Outbox | None) -> None:
    """Sends what waits until cancelled; a failure of the database is logged and tried again."""
    if outbox is None:
        return
    while True:
        try:
            await asyncio.to_thread(outbox.step, time.time_ns() // 1_000_000)
        except Exception as error:  # noqa: BLE001 - notices must not end with one failed look into the database
            _log.error("notices could not be sent", error=type(error).__name__)
        await asyncio.sleep(_EVERY_SECONDS)
