"""Whoever wrote a report on a device is told that it was read: once, and nothing of who read it or what they think."""

from __future__ import annotations

from sqlalchemy import select

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.devices.fleet import DeviceError
from schoolkeeper_collector.devices.orders import report_read_id, tell_report_read
from schoolkeeper_collector.incidents.model import AlertDetail
from schoolkeeper_collector.store.tables import commands


def tell_writers(call: Call, detail: AlertDetail) -> None:
    """For each report on the page whose words are shown there. A device that is not in use any more is told nothing."""
    signer, device = call.console.options.lesson_signer, detail.summary.device
    if signer is None or device is None:
        return
    school_id = call.console.options.school_id
    shown = {one.reference for one in detail.reported if one.text is not None and one.reference}
    for reference in sorted(shown - _told(call, device.device_id, shown)):
        with call.console.store.write() as connection:
            try:
                tell_report_read(
                    connection,
                    school_id=school_id,
                    device_id=device.device_id,
                    reference=reference,
                    signer=signer,
                    now_ms=call.now_ms,
                )
            except DeviceError:
                return


def _told(call: Call, device_id: bytes, references: set[str]) -> set[str]:
    """Those whose command was written already: most looks at a page are not the first."""
    if not references:
        return set()
    ids = {report_read_id(device_id, one): one for one in references}
    where = (commands.c.school_id == call.console.options.school_id, commands.c.command_id.in_(list(ids)))
    with call.console.store.read() as connection:
        return {
            ids[bytes(row.command_id)]
            for row in connection.execute(select(commands.c.command_id).where(*where))
        }
