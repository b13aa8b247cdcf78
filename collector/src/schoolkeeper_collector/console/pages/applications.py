"""Applications that ran on devices: which of them the school assessed, for the technician, DSL and head."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.responses import Response

from schoolkeeper_collector.console import assessed
from schoolkeeper_collector.console.call import Call

_SHOWN = 500


def applications(call: Call) -> Response:
    """The lists with their counts; without a pack that can be read nothing is called assessed or unassessed."""
    options = call.console.options
    today = datetime.fromtimestamp(call.now_ms / 1000, UTC).astimezone(options.zone).date()
    fault, found = "", None
    try:
        register = call.console.assessments.current(options.state_dir)
    except assessed.FAULTS as error:
        fault = str(error)
    else:
        with call.console.store.read() as connection:
            found = assessed.load_applications(connection, options.school_id, register, today)
    return call.console.renderer.page(
        "applications.html",
        call.language,
        call=call,
        fault=fault,
        found=found,
        state=assessed.State,
        shown=_SHOWN,
    )
