"""session/: login and logout for browsers. Every unsafe request needs the CSRF header, even before a login."""

from typing import Any, ClassVar

from django.contrib.auth import get_user, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.middleware.csrf import get_token
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.login.authentication import SessionAuthentication
from project.login.credentials import Credentials
from rest.openapi.parts import example
from rest.requests.query import KnownParameters


@example(username="ada")
class SessionUser(serializers.Serializer[Any]):
    """The user who sent the request."""

    id = serializers.IntegerField(source="pk")
    username = serializers.CharField(source="get_username")


@example(authenticated=True)
class Session(serializers.Serializer[Any]):
    """Whether a user is logged in, and which."""

    authenticated = serializers.BooleanField()
    user = SessionUser(required=False)


LOGGED_OUT = OpenApiResponse(description="Logged out.")
CSRF_HEADER = OpenApiParameter("X-CSRFToken", str, OpenApiParameter.HEADER, required=True)


@method_decorator(never_cache, name="dispatch")
class SessionView(APIView):
    permission_classes = (AllowAny, KnownParameters)

    problems: ClassVar = {"POST": (403,), "DELETE": (403,)}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """An empty list for login and logout: nobody need be logged in, and a stale token must not be an error."""
        reads = self.request is None or self.request.method in SAFE_METHODS
        return super().get_authenticators() if reads else []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """DRF checks CSRF only for logged-in users, but a login can be forged as well."""
        if request.method in self.problems:
            SessionAuthentication().enforce_csrf(request)
        super().initial(request, *args, **kwargs)

    @extend_schema(operation_id="session_retrieve", responses=Session)
    def get(self, request: Request) -> Response:
        """The caller's user. Sets the csrftoken cookie, whose value belongs into the header X-CSRFToken."""
        get_token(request._request)
        return Response(_session_body(request.user))

    @extend_schema(
        operation_id="session_create", parameters=[CSRF_HEADER], request=Credentials, responses={200: Session}
    )
    def post(self, request: Request) -> Response:
        """Log in, with a new session key and a new csrftoken."""
        credentials = Credentials(data=request.data)
        credentials.is_valid(raise_exception=True)
        user = credentials.authenticate(request)
        # Django keeps the session key if the same user logs in again; here every login gets a new one.
        request._request.session.flush()
        login(request._request, user)
        return Response(_session_body(user))

    @extend_schema(operation_id="session_destroy", parameters=[CSRF_HEADER], responses={204: LOGGED_OUT})
    def delete(self, request: Request) -> Response:
        """Log out. Without a session this does nothing and succeeds."""
        # The session's user, for the log: without authenticators DRF has replaced it by an anonymous one.
        request._request.user = get_user(request._request)
        logout(request._request)
        return Response(status=204)


def _session_body(user: User | AnonymousUser) -> dict[str, Any]:
    if not user.is_authenticated:
        return {"authenticated": False}
    return {"authenticated": True, "user": SessionUser(user).data}
