"""session/: how a browser logs in and out. Every unsafe call needs the CSRF header, logged in or not."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.middleware.csrf import get_token
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.authentication import CSRFOnly
from project.credentials import Credentials


class SessionUser(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    username = serializers.CharField(source="get_username")


class Session(serializers.Serializer[Any]):
    authenticated = serializers.BooleanField()
    user = SessionUser(required=False)


@method_decorator(never_cache, name="dispatch")
class SessionView(APIView):
    permission_classes = (AllowAny,)

    def get_authenticators(self) -> Sequence[BaseAuthentication]:
        reads = self.request is None or self.request.method in SAFE_METHODS
        return super().get_authenticators() if reads else [CSRFOnly()]

    @extend_schema(operation_id="session_retrieve", responses=Session)
    def get(self, request: Request) -> Response:
        """Who is calling; sets the csrftoken cookie, whose value goes into X-CSRFToken."""
        get_token(request._request)
        return Response(_described(request.user))

    @extend_schema(operation_id="session_create", request=Credentials, responses={200: Session})
    def post(self, request: Request) -> Response:
        """Logs in: a new session key, and a new csrftoken."""
        credentials = Credentials(data=request.data)
        credentials.is_valid(raise_exception=True)
        user = credentials.login_of(request)
        login(request._request, user)
        return Response(_described(user))

    @extend_schema(operation_id="session_destroy", responses={204: OpenApiResponse(description="Logged out.")})
    def delete(self, request: Request) -> Response:
        """Logs out; without a session there is nothing to do, and that is fine."""
        logout(request._request)
        return Response(status=204)


def _described(user: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    if not user.is_authenticated:
        return {"authenticated": False}
    return {"authenticated": True, "user": SessionUser(user).data}
