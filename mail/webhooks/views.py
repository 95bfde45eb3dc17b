"""Where providers tell us what became of mail: Anymail's views, hardened. What they take goes to mail.events.ingest.

Answers: 200 stored, or known already; 406 for what can never be taken, which Mailgun does not send again; 503 for what
is worth another try. Never anything else, whatever is sent.
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
from mail.events.classify_mailgun import mapping
from mail.events.provider_event import MAILGUN, NotAnEvent, Report
from mail.models import WebhookToken
from mail.providers import accounts
from mail.webhooks import refusals
from mail.webhooks.signature import BadSignature, NoSignature, check_age, token_of

log = structlog.get_logger(__name__)

OURS = (BadSignature, NotAnEvent)
UNACCEPTABLE = (
    *OURS,
    AnymailWebhookValidationFailure,
    BadRequest,
    DataError,
    MultiPartParserError,
    SuspiciousOperation,
    UnreadablePostError,
)
"""What will be no better the next time."""
DISBELIEVED = (BadSignature, AnymailWebhookValidationFailure)
"""What cannot be told from a forgery; many in a row mean that something is wrong here."""
MISREAD = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What Anymail's views raise of an event that has not the form which they expect."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class TryAgain(APIException):
    """The event could not be taken just now; the provider should tell it again."""

    status_code = 503
    default_detail = "The event cannot be taken just now; try again."
    wait = 60


class Hardened(AnymailCoreWebhookView):  # type: ignore[misc]
    """Before one of Anymail's tracking views: answers whatever comes, and takes nothing that anybody could have sent.

    esp: Anymail's name of the service. needs_secret: it signs nothing, and only MAIL_WEBHOOK_SECRET proves who tells.
    """

    esp = ""
    needs_secret = False
    basic_auth: object = None
    refused: tuple[type[Exception], ...] = (*UNACCEPTABLE, *MISREAD)

    @property
    def warn_if_no_basic_auth(self) -> bool:
        """Anymail would warn, and then believe everybody."""
        return False

    @warn_if_no_basic_auth.setter
    def warn_if_no_basic_auth(self, needed: bool) -> None:
        self.needs_secret = needed

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            with transaction.atomic():
                answer = self.take(request)
        except self.refused as error:
            if isinstance(error, DISBELIEVED) and not isinstance(error, NoSignature):
                refusals.refused(self.esp, str(error))
            log.warning("webhook_refused", esp=self.esp, error=type(error).__name__, reason=_reason(error))
            return _problem(request, NotAcceptable(_reason(error)))
        except Exception:
            log.exception("webhook_failed", esp=self.esp)
            return _problem(request, TryAgain())
        refusals.taken(self.esp)
        return answer

    def take(self, request: HttpRequest) -> HttpResponseBase:
        if self.needs_secret and not self.basic_auth:
            raise ImproperlyConfigured(f"MAIL_WEBHOOK_SECRET is not set; no webhook of {self.esp} can be believed.")
        return cast(HttpResponseBase, super().post(request))


class MailgunView(Hardened, MailgunTrackingWebhookView):  # type: ignore[misc]
    """Mailgun's. Its events are read by mail.events.provider_event, which knows more of them than Anymail;
    Anymail reads the forms of before 2018.

    webhook_signing_key: several, comma-separated, while one replaces the other.
    """

    esp = MAILGUN
    refused = UNACCEPTABLE

    def take(self, request: HttpRequest) -> HttpResponseBase:
        if not self.webhook_signing_key:
            raise ImproperlyConfigured("MAILGUN_WEBHOOK_SIGNING_KEY is not set; no webhook can be believed.")
        block, data = _parts(request)
        token = token_of(block)
        self._check_signature(request)
        check_age(block, timezone.now())
        report = self._legacy_report(request) if data is None else provider_event.of_mailgun(data)
        if not WebhookToken.objects.use(token, report.key):
            raise BadSignature("The signature was used for another event.")
        ingest.take(report)
        return HttpResponse()

    def _check_signature(self, request: HttpRequest) -> None:
        """By Anymail, with one key after the other. Raises BadSignature."""
        reason = ""
        keys: bytes = self.webhook_signing_key
        for key in keys.split(b","):
            self.webhook_signing_key: bytes = key.strip()
            try:
                MailgunTrackingWebhookView.validate_request(self, request)
                return
            except AnymailWebhookValidationFailure as error:
                reason = str(error)
            except MISREAD:
                reason = "The signature is not right."
        raise BadSignature(reason)

    def _legacy_report(self, request: HttpRequest) -> Report:
        try:
            event = self.mailgun_legacy_to_anymail_event(request.POST)
        except (*MISREAD, AnymailConfigurationError):
            raise NotAnEvent("This is not an event that can be taken.") from None
        return replace(provider_event.of_anymail(event, MAILGUN), domain=request.POST.getlist("domain", [""])[0])


@csrf_exempt
def tracking(request: HttpRequest, provider: str = MAILGUN) -> HttpResponseBase:
    """The webhook of a provider in MAIL_PROVIDERS, by its name there or by its service's; Mailgun's in any case."""
    account = accounts.named(provider)
    view = _view(account.esp if account else provider) if account or provider == MAILGUN else None
    if view is None:
        raise Http404
    options = {name: value for name, value in (account.options if account else {}).items() if hasattr(view, name)}
    try:
        return cast(HttpResponseBase, view.as_view(**options)(request))
    except Exception:
        # Its settings are wrong; nothing of the request has been looked at.
        log.exception("webhook_failed", esp=provider)
        return _problem(request, TryAgain())


@cache
def _view(esp: str) -> type[Hardened] | None:
    """Anymail's tracking view of this service, hardened; None when it has none.

    Anymail's URLs are imported here: with them come the SDKs of all services, which every process would have in memory.
    """
    if esp == MAILGUN:
        return MailgunView
    names = (f"{esp}_tracking_webhook", f"{esp}_webhook")
    patterns = import_module("anymail.urls").urlpatterns
    found = next((pattern.callback.view_class for pattern in patterns if pattern.name in names), None)
    if found is None:
        return None
    own = {"esp": esp, "needs_secret": found.warn_if_no_basic_auth}
    return type(f"Hardened{found.__name__}", (Hardened, found), own)


def _parts(request: HttpRequest) -> tuple[Mapping[str, object], object]:
    """The signature block and the event-data; no event-data where the body is a form, as it was before 2018."""
    if request.content_type in FORMS:
        return request.POST, None
    try:
        body = mapping(orjson.loads(request.body))
    except orjson.JSONDecodeError:
        raise NotAnEvent("The body is not JSON.") from None
    return mapping(body.get("signature")), body.get("event-data") or {}


def _reason(error: Exception) -> str:
    """Nothing of what others raise is told: it may repeat what was sent."""
    return str(error) if isinstance(error, OURS) else "This is not an event that can be taken."


def _problem(request: HttpRequest, error: APIException) -> HttpResponse:
    """The error in the one shape that all errors have here."""
    handler: Callable[..., HttpResponse] = api_settings.EXCEPTION_HANDLER  # type: ignore[assignment]
    return handler(error, {"request": request})
