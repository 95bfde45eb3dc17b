"""The page behind a List-Unsubscribe link. GET changes nothing, because mail scanners follow every link."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from mail.addresses.normalize import mask_address
from mail.unsubscribe.one_click import BadLink, Link, unsubscribe

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""What a mail program or the page's first button posts (RFC 8058, 3.2)."""
ALL_BULK = "All"
"""Value that the page's second button posts: unsubscribe from all bulk mail, not only from this stream."""


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST unsubscribes. The signed link is the only credential; no cookie is read or set."""
    try:
        link = Link.read(token)
    except BadLink:
        return _page("unknown", 404)
    if request.method != "POST":
        message = link.message()
        return _page("ask", address=mask_address(message.address) if message else "", stream=link.stream)
    name, value = ONE_CLICK
    choice = request.POST.get(name)
    if choice not in (value, ALL_BULK):
        return _page("ask", 400, stream=link.stream)
    unsubscribe(link, all_bulk=choice == ALL_BULK)
    return _page("done", stream="" if choice == ALL_BULK else link.stream)


def _page(state: str, status: int = 200, address: str = "", stream: str = "") -> HttpResponse:
    # Rendered without the request: context processors would read the session and set a cookie.
    response = HttpResponse(
        render_to_string("mail/unsubscribe.html", {"state": state, "address": address, "stream": stream}), status=status
    )
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    return response
