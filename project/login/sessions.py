"""session/: how a browser logs in and out. Every unsafe call needs the CSRF header, logged in or not."""

from typing import Any, ClassVar

from django.contrib.auth import login, logout
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


class SessionUser(serializers.Serializer[Any]):
    """The user a request comes from."""

    id = serializers.IntegerField(source="pk")
    username = serializers.CharField(source="get_username")


class Session(serializers.Serializer[Any]):
    """Whether somebody is logged in, and who."""

    authenticated = serializers.BooleanField()
    user = SessionUser(required=False)


LOGGED_OUT = OpenApiResponse(description="Logged out.")
CSRF_HEADER = OpenApiParameter("X-CSRFToken", str, OpenApiParameter.HEADER, required=True)


@method_decorator(never_cache, name="dispatch")
class SessionView(APIView):
    permission_classes = (AllowAny,)

    problems: ClassVar = {"POST": (403,), "DELETE": (403,)}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Who logs in or out need not be anybody yet, and a stale token must not be in the way."""
        reads = self.request is None or self.request.method in SAFE_METHODS
        return super().get_authenticators() if reads else []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """DRF asks for CSRF only of those who are logged in, but a login can be forged as well."""
        if request.method in self.problems:
            SessionAuthentication().enforce_csrf(request)
        super().initial(request, *args, **kwargs)

    @extend_schema(operation_id="session_retrieve", responses=Session)
    def get(self, request: Request) -> Response:
        """Who is calling; sets the csrftoken cookie, whose value goes into X-CSRFToken."""
        get_token(request._request)
        return Response(_described(request.user))

    @extend_schema(
        operation_id="session_create", parameters=[CSRF_HEADER], request=Credentials, responses={200: Session}
    )
    def post(self, request: Request) -> Response:
        """Logs in: a new session key, and a new csrftoken."""
        credentials = Credentials(data=request.data)
        credentials.is_valid(raise_exception=True)
        user = credentials.login_of(request)
        # Django keeps the key when the same user logs in again; here every login gets a new one.
        request._request.session.flush()
        login(request._request, user)
        return Response(_described(user))

    @extend_schema(operation_id="session_destroy", parameters=[CSRF_HEADER], responses={204: LOGGED_OUT})
    def delete(self, request: Request) -> Response:
        """Logs out; without a session there is nothing to do, and that is fine."""
        logout(request._request)
        return Response(status=204)


def _described(user: User | AnonymousUser) -> dict[str, Any]:
    if not user.is_authenticated:
        return {"authenticated": False}
    return {"authenticated": True, "user": SessionUser(user).data}
