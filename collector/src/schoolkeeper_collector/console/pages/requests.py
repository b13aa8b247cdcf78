"""Requests for an exception, from the notice that said what was refused: waiting, approved, declined.

The technician decides; where the rule is for safeguarding, a DSL or the head does. Nobody's name is shown. An approval
names the grant that officers sign on their own machine: nothing here changes what a device does. Whoever asked is told
of a "no" on the device: who decided, by role, and what was written for them, and never why it stands in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.devices.fleet import DeviceError
from schoolkeeper_collector.devices.orders import tell_declined
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.rollout import requests as held
from schoolkeeper_collector.rollout.requests import Decided, Request, RequestError, RequestState
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_proto import wire
from schoolkeeper_proto.policy import RuleText
from schoolkeeper_proto.trust import TrustRefused, bundle_target, target_file_name

_FOR_ASKER = 300
"""Characters; as many as an agent keeps."""
_DECISIONS = {"approve": RequestState.APPROVED, "decline": RequestState.DECLINED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A request with its rule. A rule that is not in force any more counts as safeguarding: nobody knows."""

    request: Request
    rule: RuleText | None
    safeguarding: bool

    def decided_by(self, role: Role) -> bool:
        """Whether this role may decide it."""
        return (role is not Role.TECHNICIAN) if self.safeguarding else role is Role.TECHNICIAN


def requests(call: Call) -> Response:
    return _page(call)


def decide(call: Call) -> Response:
    """Approve or decline one request, with a reason that stands beside it."""
    to = _DECISIONS.get(call.form.get("decision", ""))
    because = call.form.get("because", "").strip()[:500]
    shown = next(
        (one for one in _shown(call) if one.request.request_id.hex() == call.request.path_params["item"]),
        None,
    )
    if to is None or shown is None or not shown.decided_by(call.person.role):
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    if not because:
        return _page(call, call.say("Say why: the person may ask."))
    school_id = call.console.options.school_id
    try:
        with call.console.store.write() as connection:
            decided = held.decide(
                connection,
                school_id,
                shown.request.request_id,
                to,
                actor=call.person.login,
                because=because,
                now_ms=call.now_ms,
            )
            record_access(
                connection,
                school_id=school_id,
                account_id=call.person.account_id,
                action=f"exception.{to}",
                object_type="exception",
                object_id=shown.request.request_id,
                reason=because,
                now_ms=call.now_ms,
            )
            told = to is not RequestState.DECLINED or _tell(call, connection, decided)
    except RequestError as refused:
        return _page(call, str(refused))
    return RedirectResponse("/requests" if told else "/requests?untold=1", status_code=HTTPStatus.SEE_OTHER)


def _tell(call: Call, connection: Connection, decided: tuple[Decided, ...]) -> bool:
    """Each number the person got has its answer. False: at least one cannot reach them by the device."""
    signer = call.console.options.lesson_signer
    if signer is None:
        return False
    told = True
    for one in decided:
        order = wire.RequestDeclined(
            reference=one.reference,
            rule_id=one.rule_id,
            decided_by=call.person.role.value,
            words=call.form.get("for_asker", "").strip()[:_FOR_ASKER],
            decided_unix_ms=call.now_ms,
        )
        try:
            if not one.reference:
                raise DeviceError("a request without a number has nobody who could be told")
            tell_declined(
                connection,
                school_id=call.console.options.school_id,
                device_id=one.device_id,
                order=order,
                signer=signer,
                actor=call.person.login,
            )
        except DeviceError:
            told = False
    return told


def _page(call: Call, refused: str = "") -> Response:
    return call.console.renderer.page(
        "requests.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK,
        call=call,
        shown=_shown(call),
        role=call.person.role,
        refused=refused,
        untold="untold" in call.request.query_params,
    )


def _shown(call: Call) -> tuple[Shown, ...]:
    """The technician sees every request; the DSL and the head those about safeguarding rules."""
    school_id = call.console.options.school_id
    found = held.requests(call.console.store, school_id, call.now_ms)
    rules = _rules(call, {one.group for one in found})
    made = []
    for one in found:
        rule = rules.get((one.group, one.rule_id))
        shown = Shown(request=one, rule=rule, safeguarding=rule is None or rule.safeguarding)
        if call.person.role is Role.TECHNICIAN or shown.safeguarding:
            made.append(shown)
    return tuple(made)


def _rules(call: Call, groups: set[str]) -> dict[tuple[str, str], RuleText]:
    """The texts of the rules in force, by group and rule."""
    folder = call.console.options.state_dir
    found: dict[tuple[str, str], RuleText] = {}
    if folder is None or not groups:
        return found
    repository = Repository(folder)
    try:
        bundles = repository.current().bundles
        for group in groups & bundles.keys():
            name = target_file_name(bundle_target(group), bundles[group][0].hex())
            opened = open_whole(
                repository.read_file(f"targets/{name}"), call.console.options.school_id, group
            )
            texts = [rule.text for rule in opened.applications.rules]
            texts += [rule.text for rule in opened.media.rules] + [rule.text for rule in opened.browser.rules]
            found |= {(group, text.rule_id): text for text in texts}
    except (NotPublished, RepositoryError, TrustRefused, OSError):
        return {}
    return found
