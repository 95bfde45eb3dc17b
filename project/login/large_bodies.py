"""Whether a request's credentials are valid: checked before a large body is read (project/asgi.py)."""

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import Error
from django.http import parse_cookie
from rest_framework.exceptions import AuthenticationFailed

from project.login.authentication import TokenAuthentication
from project.login.session_store import SessionStore
from routers import Route, routed


def is_known(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True for the headers of a live token or session. The view checks them again, with CSRF and scopes.

    True too if the database is away: the view answers that.
    """
    fields = dict(headers)
    scheme, _, key = fields.get(b"authorization", b"").partition(b" ")
    cookies = parse_cookie(fields.get(b"cookie", b"").decode("latin-1"))
    try:
        with routed(Route()):
            return _is_token(scheme, key.strip()) or _is_session(cookies.get(settings.SESSION_COOKIE_NAME, ""))
    except Error:
        return True


def _is_token(scheme: bytes, key: bytes) -> bool:
    if scheme.lower() != b"token":
        return False
    try:
        TokenAuthentication().authenticate_credentials(key)
    except AuthenticationFailed:
        return False
    return True


def _is_session(key: str) -> bool:
    """A cookie may contain any character, even NUL; a key has letters and digits."""
    return key.isalnum() and SESSION_KEY in SessionStore(key)
