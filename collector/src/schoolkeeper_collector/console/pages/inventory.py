"""Devices as other systems tell of them: what each told and when, and a form to import what it exported."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.devices.inventory import InventoryError, load_inventory
from schoolkeeper_collector.devices.inventory_columns import NAMES, Format, format_of
from schoolkeeper_collector.devices.inventory_importing import import_inventory, sentences

_SHOWN = 30
_OTHER = "other"


def inventory(call: Call) -> Response:
    """The page; with a file, an import of all of it or of nothing."""
    if call.request.method != "POST":
        return _page(call)
    try:
        return _page(call, done=_import(call))
    except InventoryError as refused:
        return _page(call, mistakes=refused.mistakes)


def _import(call: Call) -> list[str]:
    """Raises ``InventoryError``."""
    options, sent = call.console.options, call.form.get("file", "")
    if not sent:
        raise InventoryError([call.say("Choose the CSV file that the other system exported.")])
    chosen = call.form.get("source", "")
    kind = next((kind for kind in NAMES if kind.value == chosen), None)
    name = NAMES[kind] if kind else call.form.get("name", "").strip()
    if not name:
        raise InventoryError([call.say("Say which system tells: choose one, or write its name.")])
    return sentences(
        import_inventory(
            call.console.store,
            options.school_id,
            sent.encode("utf-8", "surrogateescape"),
            place=call.say("The file"),
            source=name,
            kind=kind or format_of(name),
            exported_on=call.form.get("exported_on", ""),
            zone=options.zone,
            actor=call.person.account_id,
            now_ms=call.now_ms,
        )
    )


def _page(call: Call, *, mistakes: list[str] | None = None, done: list[str] | None = None) -> Response:
    options = call.console.options
    with call.console.store.read() as connection:
        held = load_inventory(connection, options.school_id, call.now_ms, options.inventory_stale_days)
    return call.console.renderer.page(
        "inventory.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if mistakes else HTTPStatus.OK,
        call=call,
        held=held,
        systems=[(kind.value, NAMES[kind]) for kind in Format if kind in NAMES],
        other=_OTHER,
        stale_days=options.inventory_stale_days,
        mistakes=(mistakes or [])[:_SHOWN],
        more=max(0, len(mistakes or []) - _SHOWN),
        done=done or [],
    )
