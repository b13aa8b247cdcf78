"""The checks of a device's own state that there are: what each asks, and what its threshold counts (T-43).

Named once, for the policy language (which accepts no other name), for whoever compares two policies, and for the
device, whose readers carry the same names. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """The stable names; a device reports a name that it does not know as unknown, with the reason."""

    DISK_ENCRYPTION = "disk-encryption"
    ANTIVIRUS = "antivirus"
    UPDATES = "updates"
    LOCK = "lock"
    FIREWALL = "firewall"
    SECURE_BOOT = "secure-boot"
    PASSWORD_LENGTH = "password-length"  # noqa: S105, a name of a check
    PASSWORD_AGE = "password-age"  # noqa: S105, a name of a check
    ADMINISTRATORS = "administrators"
    GUEST_ACCOUNTS = "guest-accounts"
    AUTO_LOGIN = "auto-login"
    AGENT_INTEGRITY = "agent-integrity"
    SITE_LISTS = "site-lists"
    CONTENT_FILTER = "content-filter"
    CEOP_SHORTCUT = "ceop-shortcut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a check's threshold counts, its value where the policy says 0, and which way is stricter."""

    unit: str
    default: int
    lower_is_stricter: bool


THRESHOLDS: Mapping[str, Threshold] = {
    Check.ANTIVIRUS: Threshold(unit="days since the signatures were made", default=7, lower_is_stricter=True),
    Check.UPDATES: Threshold(
        unit="days since the lists of updates were fetched", default=14, lower_is_stricter=True
    ),
    Check.PASSWORD_LENGTH: Threshold(unit="characters", default=8, lower_is_stricter=False),
    Check.PASSWORD_AGE: Threshold(unit="days that a password may stay", default=0, lower_is_stricter=True),
    Check.SITE_LISTS: Threshold(
        unit="days since the policy with its lists of sites was compiled", default=35, lower_is_stricter=True
    ),
    Check.ADMINISTRATORS: Threshold(
        unit="accounts that may administer, root aside", default=1, lower_is_stricter=True
    ),
}
"""Checks that are not here heed no threshold."""
