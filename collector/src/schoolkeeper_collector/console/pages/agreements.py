"""Who agreed to the rules: names for safeguarding lead and head, as the notice says; counts for the technician."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.agreements import State, load_agreements
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.registers import PersonKind
from schoolkeeper_collector.ledger.audit import record_access

_SHOWN: Final = 300
_NAMED: Final = frozenset({Role.DSL, Role.HEAD})


def agreements(call: Call) -> Response:
    """Counts of each state; with names, who looked is written down. At most ``_SHOWN`` names of a state."""
    options, console = call.console.options, call.console
    named = call.person.role in _NAMED
    now = console.versions_in_force.current(options.state_dir, options.school_id)
    with console.store.write() if named else console.store.read() as connection:
        found = load_agreements(connection, options.school_id, now, call.now_ms)
        if named:
            record_access(
                connection,
                school_id=options.school_id,
                account_id=call.person.account_id,
                action="agreements.listed",
                object_type="register",
                object_id=b"",
                reason="",
                now_ms=call.now_ms,
            )
    return console.renderer.page(
        "agreements.html",
        call.language,
        call=call,
        found=found,
        now=now,
        named=named,
        shown=_SHOWN,
        states=list(State),
        kinds=[kind.value for kind in PersonKind],
    )
