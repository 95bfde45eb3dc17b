"""Pages from the templates in pages/, which escape whatever they are given, and the headers that guard them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from django.template import Context, Engine

from mail.simulator.http import Answer

FOLDER = Path(__file__).parent / "pages"
COMMON = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
PAGE_HEADERS = {
    **COMMON,
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}
FRAME_HEADERS = {
    **COMMON,
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
    ),
}
"""For what strangers have written: no scripts, no forms, nothing fetched, no origin."""

_engine = Engine([str(FOLDER)])


def page(name: str, context: Mapping[str, object], status: int = 200) -> Answer:
    html = _engine.get_template(name).render(Context(dict(context)))
    return Answer(status, html.encode(), "text/html; charset=utf-8", PAGE_HEADERS)


@cache
def css() -> bytes:
    return (FOLDER / "simulator.css").read_bytes()
