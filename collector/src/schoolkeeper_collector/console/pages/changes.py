"""Changes of policy that wait for officers' signatures, and the log of those that were published.

The console carries: it lists, hands out the file and takes signatures, each verified before it is kept. It signs
nothing, and an officer's program believes nothing that stands here.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.devices.announcing import live_blocks
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.repository import NotPublished, RepositoryError
from schoolkeeper_policies.officer import words
from schoolkeeper_policies.officer.record import RecordError
from schoolkeeper_policies.officer.school import SUFFIX as SCHOOL_SUFFIX
from schoolkeeper_policies.officer.signing import SigningError
from schoolkeeper_policies.officer.staged import SUFFIX, StagedError, pack
from schoolkeeper_proto.trust import TrustRefused

_SHOWN = 20
_REFUSALS = (StagedError, SigningError, RecordError, RepositoryError, NotPublished, TrustRefused)


def changes(call: Call) -> Response:
    """What waits, who signed, who is missing; below it the change log."""
    return _page(call)


def change_file(call: Call) -> Response:
    """The staged change as one file, for `schoolkeeper-officer`."""
    try:
        waiting = staging.read_waiting(_state_dir(call), call.now_ms)
    except _REFUSALS:
        waiting = None
    if waiting is None:
        return RedirectResponse("/changes", status_code=HTTPStatus.SEE_OTHER)
    staged, seen = waiting
    name = f"change-{seen.version}{SUFFIX}"
    return Response(
        pack(staged),
        media_type="application/octet-stream",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def school_file(call: Call) -> Response:
    """What is in force, for officers who make or sign a grant."""
    try:
        data = staging.school_file(_state_dir(call))
    except _REFUSALS:
        return RedirectResponse("/changes", status_code=HTTPStatus.SEE_OTHER)
    name = f"{call.console.options.school_id}{SCHOOL_SUFFIX}"
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def add_signatures(call: Call) -> Response:
    """Take the file that an officer's program wrote: its good signatures, or nothing of it and the reason."""
    sent = call.form.get("file", "")
    if not sent:
        return _page(call, call.say("Choose the .sksigned file that schoolkeeper-officer saved."))
    try:
        seen = staging.take_signatures(_state_dir(call), sent.encode(), call.say("The file"), call.now_ms)
    except _REFUSALS as refused:
        return _page(call, str(refused))
    with call.console.store.write() as connection:
        record_access(
            connection,
            school_id=call.console.options.school_id,
            account_id=call.person.account_id,
            action="policy.signatures-added",
            object_type="change",
            object_id=seen.version.to_bytes(8, "big"),
            reason=", ".join(sorted(seen.signed_by)),
            now_ms=call.now_ms,
        )
    return RedirectResponse("/changes", status_code=HTTPStatus.SEE_OTHER)


def _page(call: Call, refused: str = "") -> Response:
    fault = log_fault = ""
    waiting, log = None, []
    try:
        waiting = staging.read_waiting(_state_dir(call), call.now_ms)
    except _REFUSALS as error:
        # Shown and not hidden: a staged change that nobody may sign is for the technician to put right.
        fault = str(error)
    try:
        log = staging.change_log(_state_dir(call))[-_SHOWN:]
    except _REFUSALS as error:
        log_fault = str(error)
    with call.console.store.read() as connection:
        blocks = live_blocks(connection, call.console.options.school_id, call.now_ms)
    return call.console.renderer.page(
        "changes.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK,
        call=call,
        seen=waiting[1] if waiting else None,
        fault=fault,
        refused=refused,
        log=log[::-1],
        log_fault=log_fault,
        blocks=blocks,
        words=words,
    )


def _state_dir(call: Call) -> Path:
    folder = call.console.options.state_dir
    if folder is None:
        raise RepositoryError("this console was started without the collector's files")
    return folder
