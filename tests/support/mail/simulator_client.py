"""Requests to the simulator, and its webhooks as Anymail parses them."""

from typing import Any

import requests
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from django.core.mail import EmailMultiAlternatives, get_connection
from django.test import RequestFactory

from tests.support.servers.simulator import API_KEY, DOMAIN, SIGNING_KEY, Simulator

AUTH = ("api", API_KEY)
PATIENCE = 60
"""Seconds: what has not happened by then never will."""
FORM = {"from": f"Legwork <legwork@{DOMAIN}>", "to": "ada@example.org", "subject": "Hello", "text": "Hi"}


def post(simulator: Simulator, form: dict[str, Any] | None = None, **wishes: Any) -> requests.Response:
    """POST …/messages with the usual form and these changes; a None takes a field out."""
    data = {name: value for name, value in {**FORM, **(form or {})}.items() if value is not None}
    wishes = {"auth": AUTH, "timeout": PATIENCE, **wishes}
    return requests.post(f"{simulator.api_url}/{DOMAIN}/messages", data=data, **wishes)  # noqa: S113 it has one


def get(simulator: Simulator, path: str, **query: Any) -> requests.Response:
    """From the API of our domain."""
    return requests.get(f"{simulator.api_url}/{DOMAIN}/{path}", params=query, auth=AUTH, timeout=PATIENCE)


def make_mail(simulator: Simulator, to: str = "Ada <ada@example.org>", **options: Any) -> EmailMultiAlternatives:
    """A mail that goes through Anymail's real backend; `options` are those of the connection."""
    connection = get_connection(
        "anymail.backends.mailgun.EmailBackend",
        **{"api_key": API_KEY, "api_url": simulator.api_url, "sender_domain": DOMAIN, **options},
    )
    return EmailMultiAlternatives("Hello", "Hi", f"Legwork <legwork@{DOMAIN}>", [to], connection=connection)


def understood(body: bytes) -> Any:
    """The event that Anymail's view makes of a webhook; AnymailWebhookValidationFailure if it is not signed right."""
    view = MailgunTrackingWebhookView(webhook_signing_key=SIGNING_KEY)
    request = RequestFactory().post("/", body, content_type="application/json")
    view.validate_request(request)
    [event] = view.parse_events(request)
    return event
