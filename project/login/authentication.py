"""DRF's authentication classes: a program's token, a browser's session with a CSRF header, or Basic for a login."""

from copy import copy
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.http import QueryDict
from django.utils import timezone
from knox.auth import TokenAuthentication as KnoxAuthentication
from knox.crypto import hash_token
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from project.login.last_used import last_used
from project.models import Token
from project.replicas import probe
from project.replicas.read_your_writes import require_own_writes
from rest import scopes
from rest.outage import DatabaseAway
from routers import PRIMARY, replica_was_read


class InsufficientScope(PermissionDenied):
    """The token's scope does not allow this request."""

    default_code = "insufficient_scope"


class TokenAuthentication(KnoxAuthentication):  # type: ignore[misc]
    """knox's tokens, with one query and no writes: knox itself deletes expired tokens, even during a GET.

    Their scope is checked here, so that no view can forget it.
    """

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        found: tuple[User, Token] | None = super().authenticate(request)
        if found:
            _, token = found
            if not scopes.allows(token.scope, request.method or "", request.path):
                raise InsufficientScope(scopes.refusal(token.scope))
            last_used.note(token.pk, token.last_used_on)
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[User, Token]:
        found = _find_token(hash_token(token.decode("ascii"))) if token.isascii() else None
        if found is None or not found.authenticates(timezone.now()):
            raise AuthenticationFailed("Invalid token.")
        return found.user, found


def _find_token(digest: str) -> Token | None:
    """The current token, even if a replica lags behind a login or logout. Later reads know the user's latest writes."""
    tokens = Token.objects.select_related("user").filter(digest=digest)
    found: Token | None = tokens.first()
    if found is None and replica_was_read():
        if not probe.primary_is_available():
            raise DatabaseAway("the primary is away, and no replica knows this token")
        found = tokens.using(PRIMARY).first()
        if found:
            require_own_writes(found.user_id)
    elif found and require_own_writes(found.user_id):
        found = tokens.all().first()
    return found


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's, but with the CSRF token only from the header: looking for a form field would consume the body."""

    def enforce_csrf(self, request: Request) -> None:
        without_form = copy(request._request)
        without_form.POST = QueryDict("")
        super().enforce_csrf(without_form)  # type: ignore[arg-type]


class BasicCredentials(authentication.BasicAuthentication):
    """User name and password in the Authorization header, accepted by tokens/ only."""

    www_authenticate_realm = "Legwork"

    def authenticate_credentials(self, userid: str, password: str, request: Any = None) -> tuple[User, None]:
        if "\0" in userid + password:
            raise AuthenticationFailed("Wrong user name or password.")
        user = authenticate(request=request, username=userid, password=password)
        if user is None:
            raise AuthenticationFailed("Wrong user name or password.")
        return user, None
