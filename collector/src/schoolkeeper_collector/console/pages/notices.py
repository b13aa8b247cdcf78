"""What pupils, staff, guests and parents are told, in every edition, from the policy in force; printed as a poster."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.in_force import FAULTS, InForce, in_force
from schoolkeeper_proto.notices.agreement import Band, agreement_of
from schoolkeeper_proto.notices.bands import name_of
from schoolkeeper_proto.notices.facts import Audience, facts_of
from schoolkeeper_proto.notices.render import EDITIONS, WORDS, as_page, edition_name, parts, source_line
from schoolkeeper_proto.notices.words import Language, Level

AGREEMENTS = {name_of(band, language): (band, language) for band in Band for language in Language}
"""The acceptable-use agreement, by a name that fits an address and a file."""


def notices(call: Call) -> Response:
    """Every edition of a group's notice."""
    fault, held = "", None
    try:
        held = _in_force(call)
    except FAULTS as error:
        fault = str(error)
    return call.console.renderer.page(
        "notices.html",
        call.language,
        call=call,
        fault=fault,
        held=held,
        audiences=list(Audience),
        bands=list(Band),
        agreements=[(band, language, name) for name, (band, language) in AGREEMENTS.items()],
        editions=[
            (audience, level, language, edition_name(audience, level, language))
            for audience, level, language in EDITIONS
        ],
    )


def notice(call: Call) -> Response:
    """One edition as a page that prints, or as one file for a website or a letter; an agreement as a file."""
    item = call.request.path_params["item"]
    found = {edition_name(*edition): edition for edition in EDITIONS}.get(item)
    if found is None and item not in AGREEMENTS:
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    try:
        held = _in_force(call)
    except FAULTS:
        # The list says why.
        return notices(call)
    if held is None or held.group != call.request.query_params.get("group", held.group):
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    if found is None:
        band, tongue = AGREEMENTS[item]
        made = agreement_of(held.bundle, band, tongue, school=call.console.options.school_name)
        return _saved(made.as_page(), f"{held.group}-{item}.html")
    if "file" in call.request.query_params:
        return _file(call, held, found)
    audience, level, language = found
    facts = facts_of(held.bundle, audience, school=call.console.options.school_name)
    words = WORDS[language, level]
    return call.console.renderer.page(
        "notice.html",
        call.language,
        call=call,
        held=held,
        edition=edition_name(*found),
        notice_language=language,
        early=level is Level.EARLY,
        title=words.title,
        introduction=words.introduction[audience],
        urgent=words.urgent,
        parts=parts(facts, language, level),
        source=source_line(facts, language, level),
    )


def _file(call: Call, held: InForce, edition: tuple[Audience, Level, Language]) -> Response:
    audience, level, language = edition
    facts = facts_of(held.bundle, audience, school=call.console.options.school_name)
    return _saved(as_page(facts, language, level), f"{held.group}-{edition_name(*edition)}.html")


def _saved(page: str, name: str) -> Response:
    return Response(
        page, media_type="text/html", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


def _in_force(call: Call) -> InForce | None:
    options = call.console.options
    return in_force(options.state_dir, options.school_id, call.request.query_params.get("group", ""))
