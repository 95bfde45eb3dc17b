"""GET /: the same for everybody; who is logged in and what they see is fetched from the API by its scripts."""

from csp.decorators import csp
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from project.page.policy import PAGE_POLICY


@csp(PAGE_POLICY)
@cache_control(no_cache=True, private=True)
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    # Rendered without the request: context processors would read the session.
    return HttpResponse(render_to_string("page/index.html"))
