"""The technician's pages: the fleet, one device, the collector's health. Nothing of a case stands here."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy import func, select
from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.fleet import Contact, Device, Fleet, load_fleet
from schoolkeeper_collector.console.health import load_health
from schoolkeeper_collector.console.pages import held
from schoolkeeper_collector.incidents.model import AlertSummary, ItemState, SubjectKind
from schoolkeeper_collector.store.tables import certificates, gaps

MOST_ALERTS = 500


def load(call: Call) -> Fleet:
    """Read the fleet as of now."""
    with call.console.store.read() as connection:
        options = call.console.options
        return load_fleet(connection, options.school_id, call.now_ms, options.inventory_stale_days)


def fleet(call: Call) -> Response:
    """Every device and asset in one table, or those in one state of contact."""
    wanted = next((c for c in Contact if c.value == call.request.query_params.get("contact", "")), None)
    return call.console.renderer.page(
        "devices.html", call.language, call=call, fleet=load(call), contacts=list(Contact), wanted=wanted
    )


def device(call: Call) -> Response:
    """One device: contact, policy, spool, certificate, gaps, posture."""
    shown = next((d for d in load(call).devices if _address(d) == call.request.path_params["item"]), None)
    if shown is None:
        raise Fault(HTTPStatus.NOT_FOUND, "no-device")
    until, open_gaps = _certificate_and_gaps(call, shown)
    return call.console.renderer.page(
        "device.html",
        call.language,
        call=call,
        device=shown,
        certificate_until_ms=until,
        open_gaps=open_gaps,
        alerts=_alerts(call, shown),
        held=[one for one in held.shown_to(call) if one.device_id == shown.device_id],
    )


def health(call: Call) -> Response:
    """How the collector itself is."""
    with call.console.store.read() as connection:
        found = load_health(connection, call.console.options.school_id)
    return call.console.renderer.page("health.html", call.language, call=call, health=found)


def _alerts(call: Call, shown: Device) -> list[AlertSummary]:
    """Open alerts about the device itself, as far as this viewer may see them; nothing that is about a person."""
    found = call.console.cases.alerts(
        call.viewer, state=ItemState.OPEN, limit=MOST_ALERTS, now_ms=call.now_ms
    )
    of_devices = (alert for alert in found if alert.subject.kind is SubjectKind.DEVICE)
    return [alert for alert in of_devices if alert.device and alert.device.device_id == shown.device_id]


def _address(shown: Device) -> str:
    return shown.device_id.hex() if shown.device_id else ""


def _certificate_and_gaps(call: Call, shown: Device) -> tuple[int | None, int]:
    school_id = call.console.options.school_id
    live = (
        certificates.c.school_id == school_id,
        certificates.c.device_id == shown.device_id,
        certificates.c.revoked_ms.is_(None),
    )
    still_open = (
        gaps.c.school_id == school_id,
        gaps.c.device_no == shown.device_no,
        gaps.c.closed_ms.is_(None),
    )
    with call.console.store.read() as connection:
        until = connection.execute(select(func.max(certificates.c.not_after_ms)).where(*live)).scalar_one()
        open_gaps = connection.execute(select(func.count()).select_from(gaps).where(*still_open)).scalar_one()
    return until, open_gaps
