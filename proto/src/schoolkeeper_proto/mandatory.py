"""What no policy may leave out: the check that illegal-content filtering is on, and that its result is reported.

The compiler adds the check to every bundle. An officer's program and the collector refuse a bundle without it; a device
that has it in force refuses one that would take it away. Pure.
"""

from __future__ import annotations

from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.model import Posture
from schoolkeeper_proto.posture import Check

FILTER_CHECK = Check.CONTENT_FILTER.value
LONGEST_SECONDS = 86_400
"""It is looked at once a day at least."""
FIX = "Turn the school's web filter on for this device and ask the filter's provider; tell the DSL until it is on."
COLLECTED = policy.CollectedKind(
    kind=Posture.KIND,
    notice="Whether the school's web filter works on the device, and whether the device is kept in order.",
    purpose="To keep illegal content away, and the device safe.",
    retention_days=366,
    readers=("technician", "dsl"),
)
"""What is collected of it where the school's own words leave it out."""


def missing(posture: policy.PostureSection, collection: policy.CollectionSection) -> str:
    """What switches the check off; empty when nothing does."""
    found = next((check for check in posture.checks if check.check == FILTER_CHECK), None)
    if found is None:
        return (
            f"the check {FILTER_CHECK!r} is left out: nobody can switch off that illegal content is filtered"
        )
    if not 0 < found.every_seconds <= LONGEST_SECONDS:
        return f"the check {FILTER_CHECK!r} is made every {found.every_seconds} s: once a day at least, 86400"
    if not any(kind.kind == Posture.KIND and kind.notice for kind in collection.kinds):
        return (
            f"results of {FILTER_CHECK!r} are not collected: collect the kind {Posture.KIND!r}, with a notice"
        )
    return ""


def missing_in(bundle: bytes) -> str:
    """As ``missing``, of a serialised bundle that was verified otherwise. Raises ``WireFormatError``."""
    held = {section.name: section.data for section in decode(policy.PolicyBundle, bundle).sections}
    try:
        posture = decode(policy.PostureSection, held.get("posture", b""))
        collection = decode(policy.CollectionSection, held.get("collection", b""))
    except WireFormatError as error:
        return f"what it checks and collects cannot be read: {error}"
    return missing(posture, collection)
