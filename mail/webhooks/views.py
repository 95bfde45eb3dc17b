"""The views of providers' webhooks: Anymail's, wrapped. Accepted events go to mail.events.ingest.

Answers, whatever is sent: 200 if the event is stored; 406 if it can never be accepted (Mailgun does not retry after a
406); 503 if the provider should try again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, cast

import orjson
import structlog
from anymail.exceptions import AnymailConfigurationError, AnymailWebhookValidationFailure
from anymail.webhooks.base import AnymailCoreWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.db import DataError, transaction
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, NotAcceptable
from rest_framework.settings import api_settings

from mail.events import ingest, provider_event
from mail.events.classify import mapping
from mail.events.provider_event import MAILGUN, NotAnEvent, ProviderEvent
from mail.models import WebhookToken
from mail.providers import accounts
from mail.webhooks import refusals
from mail.webhooks.counts import Outcome, webhook_counts
from mail.webhooks.signature import UNEXPECTED_FORMAT, BadSignature, NoSignature, check_age, check_signature, token_of

log = structlog.get_logger(__name__)

OWN_ERRORS = (BadSignature, NotAnEvent)
NEVER_ACCEPTABLE = (
    *OWN_ERRORS,
    AnymailWebhookValidationFailure,
    BadRequest,
    DataError,
    MultiPartParserError,
    SuspiciousOperation,
    UnreadablePostError,
)
"""Errors that the next try would raise again."""
UNVERIFIED = (BadSignature, AnymailWebhookValidationFailure)
"""May be forged; many in a row mean that our settings are wrong."""
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
UNREADABLE = "This is not an event that can be accepted."


class TryAgain(APIException):
    """The event could not be stored; the provider should send it again."""

    status_code = 503
    default_detail = "The event could not be stored; send it again later."
    wait = 60


class WebhookView(AnymailCoreWebhookView):  # type: ignore[misc]
    """A mixin before one of Anymail's tracking views: catches every error, and accepts nothing unverified.

    esp: Anymail's name of the service. needs_secret: the service signs nothing; only MAIL_WEBHOOK_SECRET verifies it.
    """

    esp = ""
    needs_secret = False
    basic_auth: object = None
    never_acceptable: tuple[type[Exception], ...] = (*NEVER_ACCEPTABLE, *UNEXPECTED_FORMAT)

    @property
    def warn_if_no_basic_auth(self) -> bool:
        """Anymail would only warn, and accept every request."""
        return False

    @warn_if_no_basic_auth.setter
    def warn_if_no_basic_auth(self, needed: bool) -> None:
        self.needs_secret = needed

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            with transaction.atomic():
                response = self.receive(request)
        except self.never_acceptable as error:
            is_unverified = isinstance(error, UNVERIFIED) and not isinstance(error, NoSignature)
            webhook_counts.note(self.esp, Outcome.UNVERIFIED if is_unverified else Outcome.REFUSED)
            if is_unverified:
                refusals.record_unverified(self.esp, str(error))
            log.warning("webhook_refused", esp=self.esp, error=type(error).__name__, reason=_reason(error))
            return _problem(request, NotAcceptable(_reason(error)))
        except Exception:
            webhook_counts.note(self.esp, Outcome.FAILED)
            log.exception("webhook_failed", esp=self.esp)
            return _problem(request, TryAgain())
        webhook_counts.note(self.esp, Outcome.ACCEPTED)
        refusals.record_accepted(self.esp)
        return response

    def receive(self, request: HttpRequest) -> HttpResponseBase:
        if self.needs_secret and not self.basic_auth:
            raise ImproperlyConfigured(f"MAIL_WEBHOOK_SECRET is not set; no webhook of {self.esp} can be verified.")
        return cast(HttpResponseBase, super().post(request))


class MailgunView(WebhookView, MailgunTrackingWebhookView):  # type: ignore[misc]
    """Mailgun's. mail.events.provider_event reads its events, in more detail than Anymail; Anymail reads legacy forms.

    webhook_signing_key: several keys, comma-separated, while one is being replaced.
    """

    esp = MAILGUN
    never_acceptable = NEVER_ACCEPTABLE

    def receive(self, request: HttpRequest) -> HttpResponseBase:
        if not self.webhook_signing_key:
            raise ImproperlyConfigured("MAILGUN_WEBHOOK_SIGNING_KEY is not set; no webhook can be verified.")
        block, data = _signature_and_event(request)
        token = token_of(block)
        check_signature(self, request)
        check_age(block, timezone.now())
        reported = self._legacy_event(request) if data is None else provider_event.from_mailgun(data)
        if not WebhookToken.objects.use(token, reported.key):
            raise BadSignature("The signature was used for another event.")
        ingest.ingest(reported)
        return HttpResponse()

    def _legacy_event(self, request: HttpRequest) -> ProviderEvent:
        try:
            event = self.mailgun_legacy_to_anymail_event(request.POST)
        except (*UNEXPECTED_FORMAT, AnymailConfigurationError):
            raise NotAnEvent(UNREADABLE) from None
        return replace(provider_event.from_anymail(event, MAILGUN), domain=request.POST.getlist("domain", [""])[0])


@csrf_exempt
def tracking(request: HttpRequest, provider: str = MAILGUN) -> HttpResponseBase:
    """provider: an account's name in MAIL_PROVIDERS, or its service's; Mailgun's need not be configured."""
    account = accounts.find_by_name_or_service(provider)
    view = _view_class(account.esp if account else provider) if account or provider == MAILGUN else None
    if view is None:
        raise Http404
    options = {name: value for name, value in (account.options if account else {}).items() if hasattr(view, name)}
    try:
        return cast(HttpResponseBase, view.as_view(**options)(request))
    except Exception:
        # The account's settings are wrong; the request has not been read.
        log.exception("webhook_failed", esp=provider)
        return _problem(request, TryAgain())


@cache
def _view_class(esp: str) -> type[WebhookView] | None:
    """Anymail's tracking view of this service, with our mixin; None if there is none.

    Anymail's URLs are imported only here: they import the SDKs of all services into memory.
    """
    if esp == MAILGUN:
        return MailgunView
    names = (f"{esp}_tracking_webhook", f"{esp}_webhook")
    patterns = import_module("anymail.urls").urlpatterns
    found = next((pattern.callback.view_class for pattern in patterns if pattern.name in names), None)
    if found is None:
        return None
    own = {"esp": esp, "needs_secret": found.warn_if_no_basic_auth}
    return type(f"Wrapped{found.__name__}", (WebhookView, found), own)


def _signature_and_event(request: HttpRequest) -> tuple[Mapping[str, object], object]:
    """The signature block and the event-data; None for the event-data of a legacy form (before 2018)."""
    if request.content_type in FORM_TYPES:
        return request.POST, None
    try:
        body = mapping(orjson.loads(request.body))
    except orjson.JSONDecodeError:
        raise NotAnEvent("The body is not JSON.") from None
    return mapping(body.get("signature")), body.get("event-data") or {}


def _reason(error: Exception) -> str:
    """The texts of others' errors are not shown: they may quote the request."""
    return str(error) if isinstance(error, OWN_ERRORS) else UNREADABLE


def _problem(request: HttpRequest, error: APIException) -> HttpResponse:
    """The error as application/problem+json."""
    handler: Callable[..., HttpResponse] = api_settings.EXCEPTION_HANDLER  # type: ignore[assignment]
    return handler(error, {"request": request})
