"""Templates into pages: Jinja with autoescape, one environment per language, and what every page may call."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from schoolkeeper_collector.console.words import (
    Language,
    clock_time,
    exact,
    lasting,
    load_languages,
    machine_time,
    on_day,
    said,
)

HERE = Path(__file__).parent.parent
STATIC = HERE / "static"
LANGUAGE_COOKIE = "language"
_TIME = Markup('<time datetime="{}" title="{}">{}</time>')


class Renderer:
    """Loads every template once; ``page`` is called for each request."""

    def __init__(self, *, zone: ZoneInfo) -> None:
        self.languages = load_languages()
        self._zone = zone
        versions = _versions()
        self._environments = {
            code: self._environment(language, versions) for code, language in self.languages.items()
        }

    def page(
        self,
        template: str,
        language: Language,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        **values: object,
    ) -> HTMLResponse:
        """Render a template into an answer."""
        text = self._environments[language.code].get_template(template).render(values)
        return HTMLResponse(text, status_code=status)

    def language_of(self, request: Request) -> Language:
        """Return what the visitor chose, else what the browser asks for first among ours, else English."""
        chosen = self.languages.get(request.cookies.get(LANGUAGE_COOKIE, ""))
        if chosen is not None:
            return chosen
        for wish in request.headers.get("accept-language", "").split(","):
            if found := self.languages.get(wish.split(";")[0].strip().split("-")[0].lower()):
                return found
        return self.languages["en"]

    def _environment(self, language: Language, versions: dict[str, str]) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_callables(  # type: ignore[attr-defined]
            language.gettext, language.ngettext, newstyle=True
        )
        zone = self._zone

        @lru_cache(maxsize=4096)
        def exactly(at_second: int) -> tuple[str, str]:
            at_ms = at_second * 1000
            return machine_time(at_ms, zone), exact(at_ms, zone, language)

        # One page says the same moment in many rows: when an export was told, when a policy was published.
        @lru_cache(maxsize=1024)
        def when(at_ms: int, now_ms: int) -> Markup:
            """Mark up a time: as said, with the exact one on hover and in print."""
            machine, full = exactly(at_ms // 1000)
            return _TIME.format(machine, full, said(at_ms, now_ms, zone, language))

        environment.globals.update(
            language=language,
            languages=list(self.languages.values()),
            when=when,
            clock=lambda at_ms: clock_time(at_ms, zone, language),
            exact=lambda at_ms: exact(at_ms, zone, language),
            on_day=lambda day: on_day(day, language),
            lasting=lambda seconds: lasting(int(seconds), language),
            asset=lambda name: f"/static/{name}?v={versions[name]}",
        )
        return environment


def _versions() -> dict[str, str]:
    """Return a short hash of each static file, so that browsers may keep it for ever."""
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    return {
        path.relative_to(STATIC).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in files
    }
