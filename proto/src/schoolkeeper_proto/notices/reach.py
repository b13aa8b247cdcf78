"""What agents of this version make and act on. No page may promise more, nor tell of what never happens."""

from __future__ import annotations

from schoolkeeper_proto import model

NEVER_MADE = frozenset(
    {
        model.MediumWriteRefused.KIND,
        model.SiteUsage.KIND,
        model.SiteRefused.KIND,
        model.ImportedAlert.KIND,
    }
)
"""Kinds of the wire that no part of the agent makes yet: no page may say that they are collected."""

ACTED_ON = frozenset({"applications", "media", "screen", "browser", "peripherals"})
"""Sections whose rules the agent enforces on Linux, where kernel, desktop and rights allow it."""
