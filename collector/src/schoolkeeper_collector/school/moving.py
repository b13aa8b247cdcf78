"""``stage --allow-move``: single devices that officers let come to a group whose safeguarding rules are weaker."""

from __future__ import annotations

from schoolkeeper_collector.config import Settings
from schoolkeeper_collector.devices import fleet
from schoolkeeper_collector.school.repository import RepositoryError
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.migrate import check_schema
from schoolkeeper_proto import moves, policy

_DAY_MS = 86_400_000


def allowed_moves(
    settings: Settings, school_id: str, wishes: list[str], groups: frozenset[str], why: str, now_ms: int
) -> tuple[policy.SignedMove, ...]:
    """The moves of ``DEVICE=GROUP`` texts, from now for as long as one may be. Raises ``RepositoryError``."""
    if not wishes:
        return ()
    if not why.strip():
        raise RepositoryError("--allow-move needs --why: a device loses safeguarding rules by it")
    store = open_store(settings.store_url, settings.keys_url)
    found = []
    try:
        check_schema(store)
        for wish in wishes:
            device, equals, group = wish.rpartition("=")
            if not (device and equals and group):
                raise RepositoryError(
                    f"--allow-move {wish!r}: give DEVICE=GROUP, for example 5CG1234=staff-laptops"
                )
            if group not in groups:
                raise RepositoryError(
                    f"--allow-move {wish!r}: no group {group!r} has a bundle; there are {', '.join(sorted(groups))}"
                )
            with store.read() as connection:
                device_id = fleet.find_device(connection, school_id, device)
            until = now_ms + moves.MAX_SIGNED_DAYS * _DAY_MS
            found.append(policy.SignedMove(device_id=device_id, to_group=group, until_unix_ms=until))
    finally:
        store.close()
    return tuple(found)
