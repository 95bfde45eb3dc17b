"""What providers tell and answer, case by case: the class, and what becomes of a critical, a normal and a bulk message.

Events go through each provider's webhook, answers from an HTTP server through Anymail's backend; the cases are in
tests/provider_cases, and docs/mail-failures.md is made of them.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Job
from mail.events import apply
from mail.failure import FailureClass
from mail.models import Alert, Event, Message, Provider, RefusedSender, Strike, Suppression
from mail.providers import breakers
from tests.provider_cases import LATER, LATER_BY, SECRET, Answered, Told
from tests.provider_cases import Provider as Service
from tests.provider_cases.follows import (
    AGAIN,
    ANOTHER,
    CLOSED,
    FOLLOWS,
    IMPORTANCES,
    NO_SUPPRESSION,
    PAUSED,
    SENDER_CLOSED,
    UNCERTAIN,
    expected,
)
from tests.provider_cases.table import DOCUMENT, PROVIDERS, document
from tests.support.mail.mailgun_webhooks import make_attempt, make_sent_message, post
from tests.support.mail.sending import sending_by, work_on
from tests.support.servers.web import make_server
from tests.support.timeouts import PATIENCE

pytestmark = [
    pytest.mark.django_db,
    # Anymail says in each call that it does not test its SendGrid integration any more.
    pytest.mark.filterwarnings("ignore::anymail.exceptions.AnymailNotSupportedWarning"),
]

BACKUP = {"name": "backup", "backend": "anymail.backends.test.EmailBackend", "options": {}}
EVENTS = [pytest.param(found, told, id=f"{found.esp} {told.said}") for found in PROVIDERS for told in found.events]
ANSWERS = [pytest.param(found, said, id=f"{found.esp} {said.said}") for found in PROVIDERS for said in found.answers]


def test_docs_mail_failures_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == document(), "run python -m tests.provider_cases"


def test_every_class_of_an_event_or_answer_has_a_case() -> None:
    kinds = {case.kind for found in PROVIDERS for case in (*found.events, *found.answers)}
    assert kinds == set(FOLLOWS) - {"unreachable"}
    assert set(FOLLOWS) == {"", *FailureClass}


@pytest.mark.parametrize(("found", "told"), EVENTS)
def test_what_an_event_leads_to(found: Service, told: Told, settings: Any) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, "WEBHOOK_SECRET": SECRET}
    with sending_by(settings, account(found, "http://127.0.0.1:9"), BACKUP):
        for importance in IMPORTANCES:
            event, message = happen(found, told, importance)
            assert event.failure_class == told.kind
            assert observed(message) == expected(told.kind, importance, told.status)


@pytest.mark.parametrize("kind", sorted({told.kind for found in PROVIDERS for told in found.events}))
def test_what_an_event_leads_to_where_there_is_no_other_provider(kind: str, settings: Any) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, "WEBHOOK_SECRET": SECRET}
    found, told = next((found, told) for found in PROVIDERS for told in found.events if told.kind == kind)
    with sending_by(settings, account(found, "http://127.0.0.1:9")):
        for importance in IMPORTANCES:
            _, message = happen(found, told, importance)
            assert observed(message) == expected(kind, importance, told.status, alone=True)


@pytest.mark.parametrize(("found", "said"), ANSWERS)
def test_what_an_answer_leads_to(found: Service, said: Answered, settings: Any) -> None:
    with answering(said) as url, sending_by(settings, account(found, url), BACKUP):
        for importance in IMPORTANCES:
            message, wait = answer(importance)
            attempt = message.attempts.first()
            assert attempt.failure_class == said.kind, attempt.detail
            assert outcome(message, wait) == FOLLOWS[said.kind].cell(importance)
            assert about_the_provider(found.esp, said) == FOLLOWS[said.kind].provider
            assert not Suppression.objects.exists() or said.kind.startswith("listed_")


@pytest.mark.parametrize("found", PROVIDERS, ids=lambda found: found.esp)
def test_an_ambiguous_call_is_not_repeated(found: Service, settings: Any) -> None:
    said = next(said for said in found.answers if said.kind == "ambiguous")
    calls: list[str] = []
    with answering(said, calls) as url, sending_by(settings, account(found, url)):
        message, wait = answer("normal")
    assert outcome(message, wait) == UNCERTAIN
    assert len(calls) == 1


@pytest.mark.parametrize("kind", sorted({said.kind for found in PROVIDERS for said in found.answers}))
def test_what_an_answer_leads_to_where_there_is_no_other_provider(kind: str, settings: Any) -> None:
    found, said = next((found, said) for found in PROVIDERS for said in found.answers if said.kind == kind)
    with answering(said) as url, sending_by(settings, account(found, url)):
        for importance in IMPORTANCES:
            assert outcome(*answer(importance)) == FOLLOWS[kind].cell(importance, alone=True)


def account(found: Service, url: str) -> dict[str, Any]:
    options = json.loads(json.dumps(found.options).replace("{url}", url))
    return {"name": found.esp, "backend": f"anymail.backends.{found.esp}.EmailBackend", "options": options}


# --- events -----------------------------------------------------------------------------------------------------


def happen(found: Service, told: Told, importance: str) -> tuple[Event, Message]:
    """The provider reports this event about a message that it has accepted; each importance has its own recipient."""
    address = f"ada@{importance}.example.com"
    message = make_sent_message(importance=importance, to=address, address=address, provider=found.esp)
    attempt = make_attempt(message, provider=found.esp)
    body, headers = found.webhook(attempt, dict(told.payload))
    secret = base64.b64encode(SECRET.encode()).decode()
    answer = post(
        body, f"/webhooks/anymail/{found.esp}/tracking/", headers=headers | {"Authorization": f"Basic {secret}"}
    )
    assert answer.status_code == 200, answer.content
    event = Event.objects.exclude(source=Event.Source.OURS).get(attempt=attempt)
    assert apply.apply(event.pk)
    message.refresh_from_db()
    return event, message


def observed(message: Message) -> tuple[str, str]:
    """What has become of a message, and of its address, in the words of the table."""
    return _told(message, _fate(message)), _suppression(message)


def _fate(message: Message) -> str:
    if message.status != "queued":
        return str(message.status)
    wait = Job.objects.get(pk=message.job_id).run_at - timezone.now()
    if wait <= timedelta(0):
        return ANOTHER
    return AGAIN if timedelta(minutes=10) < wait < timedelta(minutes=20) else f"sent again in {wait}"


def _suppression(message: Message) -> str:
    said = []
    for found in Suppression.objects.filter(address=message.address):
        lasts = (
            f"for {round((found.expires_at - timezone.now()).total_seconds() / 86400)} day" if found.expires_at else ""
        )
        said.append(f"{found.reason}: {found.scope} mail, {lasts or 'for good'}")
    said += ["a strike"] * Strike.objects.of(message.address, message_class(message)).count()
    return "; ".join(said) or NO_SUPPRESSION


def message_class(message: Message) -> str:
    return str(message.events.exclude(failure_class="").values_list("failure_class", flat=True).first() or "")


def _told(message: Message, fate: str) -> str:
    return f"{fate}, alert" if Alert.objects.filter(message=message).exists() else fate


# --- answers ----------------------------------------------------------------------------------------------------


def answer(importance: str) -> tuple[Message, float]:
    """Send a message by a provider without failures so far; returns also the seconds that its job wants to wait."""
    RefusedSender.objects.all().delete()
    Provider.objects.all().delete()
    breakers.invalidate_cache()
    message = make_sent_message(
        "queued", importance=importance, provider="", to="ada@example.com", address="ada@example.com"
    )
    return message, work_on(message)


def outcome(message: Message, wait: float) -> str:
    return _told(message, _outcome(message, wait))


def _outcome(message: Message, wait: float) -> str:
    if message.status == "sent":
        return ANOTHER if message.provider == "backup" else "sent"
    if not wait:
        return str(message.status)
    if message.status == "sending":
        return UNCERTAIN
    if RefusedSender.objects.exists():
        return SENDER_CLOSED
    return PAUSED if Provider.objects.filter(paused_until__isnull=False).exists() else CLOSED


def about_the_provider(name: str, said: Answered) -> str:
    found = Provider.objects.filter(name=name).first() or Provider(name=name)
    if found.paused_until:
        left = (found.paused_until - timezone.now()).total_seconds()
        assert 0 < left <= (said.pause or 60)
        assert not said.pause or left > said.pause - PATIENCE
        return "pause"
    if found.opened_at:
        return "its breaker opens"
    if RefusedSender.objects.filter(provider=name).exists():
        return "gets no mail of this sender for a while"
    return "its breaker counts" if found.failures else ""


@contextmanager
def answering(said: Answered, calls: list[str] | None = None) -> Iterator[str]:
    """The URL of a server that answers this to every POST. calls: collects the requested paths."""
    text = said.body if isinstance(said.body, str) else json.dumps(said.body)
    usual = {"Content-Type": "text/plain" if isinstance(said.body, str) else "application/json"}

    def reply(asked: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if calls is not None:
            calls.append(asked.path)
        later = datetime.now(UTC) + timedelta(seconds=LATER_BY)
        body = text.replace(LATER, f"{later:%a, %d %b %Y %H:%M:%S} UTC").encode()
        return said.status, {**usual, **said.headers}, body

    with make_server(reply) as server:
        yield f"http://{server.host}"
