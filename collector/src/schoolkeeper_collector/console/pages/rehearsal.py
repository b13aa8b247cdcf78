"""What a policy would have done with what happened: the last plan that `schoolkeeper-collector policy plan` made."""

from __future__ import annotations

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.rehearsal.kept import read_kept, sources_of
from schoolkeeper_collector.rehearsal.planning import pairs_of_waiting
from schoolkeeper_collector.school.repository import NotPublished, RepositoryError
from schoolkeeper_policies.officer.record import RecordError
from schoolkeeper_policies.officer.staged import StagedError
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto.trust import TrustRefused


def rehearsal(call: Call) -> Response:
    """Every change with its groups and devices, and the backtest, with its age and what it was made of."""
    folder = call.console.options.state_dir
    kept = read_kept(folder) if folder is not None else None
    waits = of_what_waits = False
    if folder is not None:
        try:
            pairs = pairs_of_waiting(folder, call.now_ms)
            waits = bool(pairs)
            of_what_waits = waits and kept is not None and kept.sources == sources_of(pairs)
        except (NotPublished, PolicyError, RecordError, RepositoryError, StagedError, TrustRefused):
            # What was staged cannot be read: the page on changes says why; here it is not what was tried.
            waits = True
    return call.console.renderer.page(
        "rehearsal.html", call.language, call=call, kept=kept, waits=waits, of_what_waits=of_what_waits
    )
