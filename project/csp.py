"""The content security policy of pages: django-csp's, with what the admin's looks need."""

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

ADMIN = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}
"""django-unfold's scripts are files, whose library (Alpine) evaluates the attributes of elements; it sets the theme's
colours in a style element and others in attributes. A script in the page itself is not executed."""


class PagePolicy(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith("/admin/") and not report_only:
            parts.replace = {**ADMIN, **(parts.replace or {})}
        return parts
