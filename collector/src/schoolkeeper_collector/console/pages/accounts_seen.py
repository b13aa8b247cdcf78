"""Accounts without a person and people without an account, for the technician; who looked is written down."""

from __future__ import annotations

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.orphans import load_orphans
from schoolkeeper_collector.ledger.audit import record_access

_SHOWN = 200


def accounts(call: Call) -> Response:
    """The two lists with their counts; at most ``_SHOWN`` lines of each."""
    school_id = call.console.options.school_id
    with call.console.store.write() as connection:
        found = load_orphans(connection, school_id)
        record_access(
            connection,
            school_id=school_id,
            account_id=call.person.account_id,
            action="accounts.listed",
            object_type="register",
            object_id=b"",
            reason="",
            now_ms=call.now_ms,
        )
    return call.console.renderer.page(
        "accounts_seen.html", call.language, call=call, found=found, shown=_SHOWN
    )
