"""Technical audits that were made: each with its state against the signed log, and its file."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from schoolkeeper_collector.console import accounts
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.reports.snapshots import SCHEDULE, Verifier, body_of, list_snapshots

_SHOWN = 24
"""Each is read whole to check it; two years of them, as they are made by default."""


def snapshots(call: Call) -> Response:
    """The newest first."""
    options = call.console.options
    with call.console.store.read() as connection:
        held = list_snapshots(connection, options.school_id)
        verifier = Verifier(connection, options.school_id, options.ledger_keys)
        rows = [(one, verifier.check(one)) for one in held[:_SHOWN]]
        names = accounts.names(connection, options.school_id)
    return call.console.renderer.page(
        "snapshots.html",
        call.language,
        call=call,
        rows=rows,
        more=max(0, len(held) - _SHOWN),
        months=options.snapshot_months,
        names=names,
        schedule=SCHEDULE,
    )


def download(call: Call) -> Response:
    """Its bytes, as they were made; the download stands in the log."""
    options, wanted = call.console.options, call.request.path_params["item"]
    with call.console.store.read() as connection:
        held = list_snapshots(connection, options.school_id)
        found = next((one for one in held if one.digest.hex() == wanted), None)
        if found is None:
            raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
        body = body_of(connection, options.school_id, found.at_ms)
    with call.console.store.write() as connection:
        record_access(
            connection,
            school_id=options.school_id,
            account_id=call.person.account_id,
            action="snapshot.exported",
            object_type="snapshot",
            object_id=found.digest,
            reason="",
            now_ms=call.now_ms,
        )
    name = f"snapshot-{found.digest.hex()[:16]}.json"
    return Response(
        body,
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
