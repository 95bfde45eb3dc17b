"""The Content-Security-Policy of our HTML pages: only our own files, no inline code, no text that becomes HTML."""

from typing import Any

from csp.constants import NONE, SELF

PAGE_POLICY: dict[str, Any] = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
    # innerHTML and its like take no strings: a job's text can never become an element.
    "require-trusted-types-for": ["'script'"],
    "trusted-types": [NONE],
}

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of Swagger UI, whose icons are data: URLs in its style sheet. It writes HTML by itself, sanitised."""
