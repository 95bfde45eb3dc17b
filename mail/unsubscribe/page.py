"""The page behind a List-Unsubscribe link. To look at it changes nothing: scanners of mail follow every link."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from mail.addresses.normalize import mask_address
from mail.unsubscribe.one_click import BadLink, Link, unsubscribe

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""What a mail program, or the page's button, posts (RFC 8058, 3.2)."""
ALL_BULK = "All"
"""What the page's second button posts: not this stream alone, but all bulk mail."""


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST does it; the link is all the proof there is, and no cookie is needed or made."""
    try:
        link = Link.read(token)
    except BadLink:
        return _page("unknown", 404)
    if request.method != "POST":
        message = link.message()
        return _page("ask", address=mask_address(message.address) if message else "", stream=link.stream)
    name, value = ONE_CLICK
    said = request.POST.get(name)
    if said not in (value, ALL_BULK):
        return _page("ask", 400, stream=link.stream)
    unsubscribe(link, all_bulk=said == ALL_BULK)
    return _page("done", stream="" if said == ALL_BULK else link.stream)


def _page(state: str, status: int = 200, address: str = "", stream: str = "") -> HttpResponse:
    # Without the request: its context processors know sessions, and this page none.
    response = HttpResponse(
        render_to_string("mail/unsubscribe.html", {"state": state, "address": address, "stream": stream}), status=status
    )
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    return response
