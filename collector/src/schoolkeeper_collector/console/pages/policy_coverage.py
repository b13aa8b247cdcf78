"""What each platform does with each rule of the policy in force, and the files that it is exported to."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.in_force import FAULTS, InForce, in_force
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_policies.targets.common import WITHOUT, Export, Level, Platform
from schoolkeeper_policies.targets.coverage import AGENT, Row, table
from schoolkeeper_policies.targets.exporters import EXPORTERS

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same policy gives the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """A bundle by its hash: what is made of it once needs no making again."""

    digest: bytes
    held: InForce = field(compare=False)


@lru_cache(maxsize=16)
def _exports(signed: _Signed) -> dict[Platform, Export]:
    return {platform: make(signed.held.policy) for platform, make in EXPORTERS.items()}


def platforms(call: Call) -> Response:
    """One table per group: rule by rule and platform by platform, and never a sum."""
    fault, held = "", None
    try:
        held = _in_force(call)
    except FAULTS as error:
        fault = str(error)
    exports = _exports(_Signed(digest=held.bundle.hash, held=held)) if held else {}
    rows = table(held.policy, exports.values()) if held else ()
    return call.console.renderer.page(
        "platforms.html",
        call.language,
        call=call,
        fault=fault,
        held=held,
        rows=rows,
        columns=[AGENT, *(platform.value for platform in Platform)],
        agent=AGENT,
        levels=list(Level),
        without=WITHOUT,
        counts={name: _counts(name, rows) for name in (AGENT, *(platform.value for platform in Platform))},
        files={platform.value: len(found.files) for platform, found in exports.items()},
    )


def files(call: Call) -> Response:
    """A platform's files as one zip, made now from the policy in force; the download stands in the log."""
    platform = next((p for p in Platform if p.value == call.request.path_params["item"]), None)
    if platform is None:
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    try:
        held = _in_force(call)
    except FAULTS:
        # The page says why.
        return platforms(call)
    if held is None or held.group != call.request.query_params.get("group", held.group):
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    data = zipped(_exports(_Signed(digest=held.bundle.hash, held=held))[platform], held)
    with call.console.store.write() as connection:
        record_access(
            connection,
            school_id=call.console.options.school_id,
            account_id=call.person.account_id,
            action="policy.exported",
            object_type="bundle",
            object_id=held.bundle.hash,
            reason=f"{held.group}, version {held.version}, {platform}",
            now_ms=call.now_ms,
        )
    name = f"{held.group}-{platform}-{held.version}.zip"
    return Response(
        data,
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def zipped(found: Export, held: InForce) -> bytes:
    """The files, and beside them what they are, what is not in them, and that nobody here looks whether they hold."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in found.files:
            archive.writestr(_entry(file.name), file.data)
        archive.writestr(_entry("READ-ME-FIRST.txt"), _read_me(found, held))
    return packed.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _read_me(found: Export, held: InForce) -> str:
    lines = [
        f"{held.policy.name}: version {held.version}, {held.bundle.hash.hex()}",
        f"For {found.platform}. Exported, not verified by us: nobody here looks whether a device obeys.",
        "",
    ]
    lines += [f"{line.rule_id}: {line.level.value}; {line.note}" for line in found.coverage]
    return "\n".join(lines) + "\n"


def _counts(name: str, rows: tuple[Row, ...]) -> dict[str, int]:
    held = [row.lines[name].level.value if name in row.lines else "" for row in rows]
    return {level: held.count(level) for level in (*(level.value for level in Level), "")}


def _in_force(call: Call) -> InForce | None:
    options = call.console.options
    return in_force(options.state_dir, options.school_id, call.request.query_params.get("group", ""))
