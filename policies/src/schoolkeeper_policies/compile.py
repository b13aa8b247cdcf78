"""A pack into the bundle that a device takes: deterministic, whole or not at all."""

from __future__ import annotations

import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from schoolkeeper_policies import model
from schoolkeeper_policies.lowering import capabilities, conditions_of, sections
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.registers import KEPT, Register, read_register
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto import mandatory, policy
from schoolkeeper_proto.bundle import MAX_BUNDLE_BYTES, build

__all__ = ["capabilities", "compile_pack", "conditions_of", "register_of", "sections"]
MAX_COMPRESSED_BYTES = 64 << 10
"""A school's bundle is this at most when compressed; hundreds of devices fetch it at once."""


def compile_pack(
    name_or_path: str | Path,
    *,
    school_id: str,
    group: str,
    version: int,
    compiled_at_unix_ms: int,
    pseudonym_key: bytes,
    register: Register | None = None,
) -> bytes:
    """The serialised bundle of one group. The same pack and arguments give the same bytes.

    ``register`` is the register of people; without it the file that the pack names is read. Raises ``PolicyError``
    with every mistake of pack or register, or when the pack does not know the group and refuses others.
    """
    pack = load_pack(name_or_path)
    _check_group(pack, group)
    held = sections(
        pack,
        group,
        pseudonym_key,
        register=register or register_of(pack, pack_folder(name_or_path)),
        today=_day_of(compiled_at_unix_ms, pack.school),
    )
    _check_mandatory(pack, held)
    data = build(
        school_id=school_id,
        group=group,
        version=version,
        compiled_at_unix_ms=compiled_at_unix_ms,
        sections=held,
        required_capabilities=capabilities(held),
        source_hash=pack.source_hash,
    )
    size, allowed = len(data), MAX_BUNDLE_BYTES
    if size <= MAX_BUNDLE_BYTES:
        size, allowed = len(zlib.compress(data, 9)), MAX_COMPRESSED_BYTES
    if size > allowed:
        at = Position(file=pack.about.name)
        reason = f"the bundle of {group!r} has {size} bytes, devices take {allowed}"
        raise PolicyError(
            [Problem(position=at, reason=reason, remedy="split the group or shorten the rules")]
        )
    return data


def register_of(
    pack: model.Pack, folder: Path, *, given: Path | None = None, imported: Path | None = None
) -> Register | None:
    """The register that the pack names; None where it names none. Raises ``PolicyError``.

    ``given`` is the file that somebody named, else it is where the pack says; ``imported`` is the collector's own copy
    (``registers.write_register``), for a pack whose register stayed on another machine.
    """
    settings = pack.people.register_ if pack.people is not None else None
    at = Position(file=pack.about.name)
    if settings is None:
        if given is not None:
            reason = "a register was named, and the pack does not use one"
            raise PolicyError(
                [Problem(position=at, reason=reason, remedy="add to the pack: people: register: {file: ...}")]
            )
        return None
    if given is not None:
        return read_register(given, settings)
    named = folder / settings.file
    if named.is_file() or imported is None:
        return read_register(named, settings)
    if imported.is_file():
        return read_register(imported, KEPT)
    reason = f"the pack's register {settings.file!r} is not beside it, and none was imported here"
    remedy = "name the file with --register, or import it first: `schoolkeeper-collector people import FILE`"
    raise PolicyError([Problem(position=at, reason=reason, remedy=remedy)])


def _day_of(unix_ms: int, school: model.School) -> date:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).astimezone(ZoneInfo(school.time_zone)).date()


def _check_mandatory(pack: model.Pack, held: tuple[policy.Section, ...]) -> None:
    """Nobody can switch off the check that illegal content is filtered, nor that its result is reported."""
    posture = next(one for one in held if isinstance(one, policy.PostureSection))
    collection = next(one for one in held if isinstance(one, policy.CollectionSection))
    if lacking := mandatory.missing(posture, collection):
        remedy = "leave the check as it is, and collect the kind 'posture' with a notice"
        raise PolicyError([Problem(position=Position(file=pack.about.name), reason=lacking, remedy=remedy)])


def _check_group(pack: model.Pack, group: str) -> None:
    names = [known.name for known in pack.groups]
    if group in names or pack.about.other_groups == "rules-for-all":
        return
    at = Position(file=pack.about.name)
    remedy = suggest(group, names, "groups of the pack")
    raise PolicyError([Problem(position=at, reason=f"the pack has no group {group!r}", remedy=remedy)])
