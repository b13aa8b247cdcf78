"""Devices off the network and devices that are lost; and a sheet to print for whoever protects the school's data.

A quiet isolation is shown to nobody but whoever holds the ground it stands on (W-104): not to the technician, and not
to a DSL, who could be whom it is about.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.in_force import FAULTS
from schoolkeeper_collector.devices.held import Encryption, Held, encryption_of, held_devices
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_proto import granting, policy, trust
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.wire import GrantKind

FRESH_MS = 24 * 3_600_000
"""An answer about the disk that is older than this at the last contact says nothing about that moment."""


def held(call: Call) -> Response:
    """Every device that officers confined, with the device's own word on it."""
    return call.console.renderer.page(
        "held.html", call.language, call=call, held=shown_to(call), lost=GrantKind.LOST
    )


def sheet(call: Call) -> Response:
    """One lost device on one page, to print: last contact, address, and whether its disk was encrypted."""
    wanted = call.request.path_params["item"]
    found = next(
        (one for one in shown_to(call) if one.kind is GrantKind.LOST and one.device_id.hex() == wanted), None
    )
    if found is None:
        raise Fault(HTTPStatus.NOT_FOUND, "no-device")
    with call.console.store.read() as connection:
        disk = encryption_of(connection, call.console.options.school_id, found.device_id)
    return call.console.renderer.page(
        "held_sheet.html", call.language, call=call, one=found, disk=disk, verdict=verdict(found, disk)
    )


def shown_to(call: Call) -> tuple[Held, ...]:
    """What this viewer may see."""
    options = call.console.options
    with call.console.store.read() as connection:
        found = held_devices(connection, options.school_id, _officers(call), call.now_ms)
    return tuple(one for one in found if not one.quiet_by or one.quiet_by == call.person.role)


def verdict(one: Held, disk: Encryption) -> str:
    """ "encrypted", "open", "old" or "unknown": only an answer of the device's last day counts as encrypted."""
    if disk.result == "fail":
        return "open"
    if disk.result != "pass":
        return "unknown"
    last = one.last_contact_ms
    return "encrypted" if last is not None and last - disk.evaluated_ms <= FRESH_MS else "old"


def _officers(call: Call) -> tuple[granting.Officer, ...]:
    """Who may sign now; nobody where the collector's files are not here: then the page names nobody."""
    folder = call.console.options.state_dir
    if folder is None:
        return ()
    try:
        repository = Repository(folder)
        chain = repository.root_chain()
        root = trust.check_root_chain(chain, hashlib.sha256(chain[0]).digest())
        return granting.officers_of(root, decode(policy.KeyStatement, repository.current().key_statement))
    except (*FAULTS, WireFormatError):
        return ()
