"""A new policy on its way, ring by ring, and who runs what since when. Nothing unmeasured is shown as fine."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.fleet import Contact, contact_of
from schoolkeeper_collector.console.running import Version, versions_in_force
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.rollout import gate, state
from schoolkeeper_collector.rollout.running import Rollouts, View, by_hand
from schoolkeeper_collector.school.pack_in_force import PackInForceError
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto.trust import TrustRefused

ACTIONS = ("pause", "resume", "halt", "open")
_FAULTS = (NotPublished, RepositoryError, PackInForceError, PolicyError, TrustRefused, OSError)


def rollouts(call: Call) -> Response:
    """Every rollout with its gate, and each group's devices by the policy that they run."""
    return _page(call)


def act(call: Call) -> Response:
    """Pause, resume, halt or open the next ring, with a reason; the collector tells devices within seconds."""
    action, group = call.form.get("action", ""), call.request.path_params["item"]
    reason = call.form.get("reason", "").strip()[:500]
    if action not in ACTIONS:
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    if not reason:
        return _page(call, call.say("Say why: the reason stands in the rollout's log."))
    store = call.console.store
    try:
        done = by_hand(
            store, _rollouts(call), group, action, actor=call.person.login, reason=reason, now_ms=call.now_ms
        )
    except (*_FAULTS, state.RolloutError) as refused:
        return _page(call, str(refused))
    with store.write() as connection:
        record_access(
            connection,
            school_id=call.console.options.school_id,
            account_id=call.person.account_id,
            action=f"rollout.{action}",
            object_type="rollout",
            object_id=done.rollout_id,
            reason=reason,
            now_ms=call.now_ms,
        )
    return RedirectResponse("/rollouts", status_code=HTTPStatus.SEE_OTHER)


def _page(call: Call, refused: str = "") -> Response:
    school_id = call.console.options.school_id
    views: tuple[View, ...] = ()
    logs: dict[bytes, tuple[state.LogEntry, ...]] = {}
    newest: dict[str, int] = {}
    fault = ""
    with call.console.store.read() as connection:
        try:
            working = _rollouts(call)
            views = working.views(connection, call.now_ms)
            logs = {v.plan.rollout_id: state.log_of(connection, school_id, v.plan.rollout_id) for v in views}
            newest = {group: version for group, (_, version) in _repository(call).current().bundles.items()}
        except _FAULTS as error:
            fault = str(error)
        versions: tuple[Version, ...] = versions_in_force(connection, school_id, call.now_ms)
    return call.console.renderer.page(
        "rollouts.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK,
        call=call,
        views=views,
        logs=logs,
        newest=newest,
        versions=versions,
        online={view.plan.rollout_id: _online(view, call.now_ms) for view in views},
        standings=list(gate.Standing),
        words=gate.WORDS,
        actions=_possible,
        fault=fault,
        refused=refused,
    )


def _online(view: View, now_ms: int) -> Counter[int]:
    """How many devices of each ring are connected now."""
    return Counter(
        member.ring
        for member in view.members
        if contact_of("active", member.last_contact_ms, now_ms) is Contact.ONLINE
    )


def _possible(view: View) -> tuple[str, ...]:
    """What may be done now."""
    one = view.standing
    if one.state not in state.OPEN_STATES:
        return ()
    runs = one.state is gate.State.RUNNING
    found = ["open"] if runs and one.open_rings < len(view.plan.rings) else []
    found.append("pause" if runs else "resume")
    return (*found, "halt") if one.state is not gate.State.HALTED else tuple(found)


def _repository(call: Call) -> Repository:
    folder = call.console.options.state_dir
    if folder is None:
        raise RepositoryError("this console does not know where the collector's files lie")
    return Repository(folder)


def _rollouts(call: Call) -> Rollouts:
    """Without the online key: the collector's own process tells devices."""
    repository, folder = _repository(call), call.console.options.state_dir
    assert folder is not None
    return Rollouts(call.console.store, repository, call.console.options.school_id, None, folder)
