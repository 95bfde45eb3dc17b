"""tokens/: login and logout for programs, with one token per device, and the end of all logins of a user."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.login.access import end_access
from project.login.authentication import BasicCredentials
from project.login.credentials import Credentials
from project.models import Token
from rest.openapi.parts import example
from rest.pagination import NewestFirst
from rest.requests.fields import ChoiceField, StringField
from rest.requests.query import KnownParameters
from rest.requests.strict import StrictSerializer
from rest.scopes import Scope
from rest.usage import QuotaExceeded

log = structlog.get_logger(__name__)


class DeviceRequest(StrictSerializer):
    """The body if the credentials are in the Authorization header."""

    name = StringField(max_length=100, allow_blank=True, default="")
    scope = ChoiceField(Scope.choices, default=Scope.ALL)


@example(username="ada", password="correct horse battery staple", name="laptop")  # noqa: S106 an example
class TokenRequest(Credentials):
    """The credentials for a new token, the name of the device that will use it, and what it may do."""

    name = StringField(max_length=100, allow_blank=True, default="")
    scope = ChoiceField(Scope.choices, default=Scope.ALL)


@example(token="5b1c…e7", expires_at="2026-03-31T12:00:00.000000Z", name="laptop")  # noqa: S106 an example
class NewToken(serializers.Serializer[Any]):
    """The only response that contains a token's key."""

    token = serializers.CharField()
    id = serializers.UUIDField()
    expires_at = serializers.DateTimeField(allow_null=True)
    name = serializers.CharField()
    scope = serializers.ChoiceField(Scope.choices)


@example(name="laptop", expires_at="2026-03-31T12:00:00.000000Z", current=True)
class ListedToken(serializers.Serializer[Token]):
    """A token in the owner's list, without its key."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    scope = serializers.ChoiceField(Scope.choices)
    created_at = serializers.DateTimeField(source="created")
    expires_at = serializers.DateTimeField(source="expiry", allow_null=True)
    last_used_on = serializers.DateField(allow_null=True)
    current = serializers.SerializerMethodField()

    def get_current(self, token: Token) -> bool:
        """True for the token that this request was made with."""
        return bool(token == self.context["request"].auth)


class NewestTokenFirst(NewestFirst):
    ordering = "-created"


class NoTokenUsed(APIException):
    status_code = 409
    default_detail = "This request was not made with a token; DELETE session/ ends a session."
    default_code = "no_token"


@method_decorator(never_cache, name="dispatch")
class TokensView(generics.ListAPIView[Token]):
    serializer_class = ListedToken
    pagination_class = NewestTokenFirst
    filter_backends = ()

    def get_authenticators(self) -> list[BaseAuthentication]:
        """For a login only Basic: a stale token or a session must not be an error."""
        return [BasicCredentials()] if self._is_login() else super().get_authenticators()

    def get_permissions(self) -> Sequence[Any]:
        return [AllowAny(), KnownParameters()] if self._is_login() else super().get_permissions()

    def _is_login(self) -> bool:
        return self.request is not None and self.request.method == "POST"

    def get_queryset(self) -> QuerySet[Token]:
        mine: QuerySet[Token] = Token.objects.live_for(cast("User", self.request.user))
        return mine

    @extend_schema(operation_id="tokens_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The caller's tokens. Keys are shown only once, when a token is created."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="tokens_create", request=TokenRequest, responses={201: NewToken})
    def post(self, request: Request) -> Response:
        """Create a token. The credentials are in the body, or in Basic with at most a name in the body."""
        user, wanted = _login(request)
        request.user = user  # so that this user's next reads wait for the write (RoutingMiddleware)
        if Token.objects.live_for(user).count() >= settings.MAX_TOKENS:
            raise QuotaExceeded("tokens", settings.MAX_TOKENS)
        record, key = Token.objects.create(user, **wanted)
        user_logged_in.send(sender=user.__class__, request=request._request, user=user)
        log.info("token_created", user_id=user.pk, token_id=str(record.pk), scope=record.scope)
        answer = {"token": key, "id": record.pk, "expires_at": record.expiry}
        return Response(NewToken(answer | wanted).data, status=201)

    @extend_schema(
        operation_id="tokens_destroy_all", responses={204: OpenApiResponse(description="All devices are logged out.")}
    )
    def delete(self, request: Request) -> Response:
        """Log out all of the caller's devices and browsers."""
        end_access(cast("User", request.user).pk)
        if request.auth is None:
            logout(request._request)  # deletes this browser's cookie as well
        return Response(status=204)


def _login(request: Request) -> tuple[User, dict[str, Any]]:
    """The user, and the name and scope of the new token."""
    if request.user.is_authenticated:
        device = DeviceRequest(data=request.data)
        device.is_valid(raise_exception=True)
        return request.user, device.validated_data
    credentials = TokenRequest(data=request.data)
    credentials.is_valid(raise_exception=True)
    user = credentials.authenticate(request)
    return user, {name: credentials.validated_data[name] for name in ("name", "scope")}


@method_decorator(never_cache, name="dispatch")
class TokenView(APIView):
    @extend_schema(operation_id="tokens_destroy", responses={204: OpenApiResponse(description="Logged out.")})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Log out one of the caller's devices."""
        if not Token.objects.filter(user=request.user, pk=token_id).delete()[0]:
            raise NotFound
        log.info("token_ended", user_id=request.user.pk, token_id=str(token_id))
        return Response(status=204)


@method_decorator(never_cache, name="dispatch")
class CurrentTokenView(APIView):
    problems: ClassVar = {"DELETE": (409,)}

    @extend_schema(operation_id="tokens_destroy_current", responses={204: OpenApiResponse(description="Logged out.")})
    def delete(self, request: Request) -> Response:
        """Log out this device; 409 if the request was made with a session."""
        if not isinstance(request.auth, Token):
            raise NoTokenUsed
        token_id = request.auth.pk
        request.auth.delete()
        log.info("token_ended", user_id=request.user.pk, token_id=str(token_id))
        return Response(status=204)
