"""schemathesis sends to each operation of the served schema what that allows and what it forbids, and holds every
answer against what the schema says of it.

All of its default checks are made, and nothing is excluded but positive_data_acceptance where a schema cannot say
what is good (GOOD_BEYOND_SCHEMA), and negative_data_rejection where a bad item is refused alone (REFUSED_ALONE).
use_after_free and ensure_resource_availability concern sequences of calls, which the pytest API does not make;
tests/jobs/api/test_views.py has them.
"""

from collections.abc import Iterator
from itertools import count
from uuid import UUID

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from jobs.models.states import Status
from mail.addresses.normalize import address_digest
from mail.models import Broadcast, Stream, StreamSuppression, Suppression, Template
from mail.status import Status as MessageStatus
from project.wsgi import application
from tests.support.api_clients import make_token
from tests.support.factories import make_job
from tests.support.mail.messages import make_message

pytestmark = pytest.mark.django_db

load_all_checks()
[ACCEPTANCE] = CHECKS.get_by_names(["positive_data_acceptance"])
[REJECTION] = CHECKS.get_by_names(["negative_data_rejection"])

GOOD_BEYOND_SCHEMA = {
    "jobs_list": "a cursor is what next and previous say",
    "tokens_list": "a cursor is what next and previous say",
    "jobs_create": "which days of a report go together",
    "jobs_retry": "an Idempotency-Key",
    "jobs_events": "a header is text, and an event's id a number",
    "jobs_events_of_all": "a header is text, and an event's id a number",
    "messages_events": "a header is text, and an event's id a number",
    "jobs_batch": "an Idempotency-Key",
    "leases_create": "which kinds are remote is said by job-kinds/",
    "leases_succeed": "the size of the result",
    "leases_fail": "a permanent failure is not repeated",
    "messages_list": "a cursor is what next and previous say",
    "messages_create": "an address, base64, and which of text, html and template go together",
    "messages_resend": "an Idempotency-Key",
    "messages_batch": "an Idempotency-Key",
    "broadcasts_list": "a cursor is what next and previous say",
    "broadcasts_create": "a template of the caller's, a CSV file",
    "templates_list": "a cursor is what next and previous say",
    "templates_create": "Django's template language",
    "templates_create_named": "Django's template language",
    "templates_replace": "Django's template language",
    "templates_preview": "what the template makes of it",
    "suppressions_list": "a cursor is what next and previous say",
    "suppressions_create": "an address",
    "suppressions_import": "a CSV file",
    "streams_list": "a cursor is what next and previous say",
    "stream_suppressions_list": "a cursor is what next and previous say",
    "stream_suppressions_create": "an address",
    "tokens_create": "a password",
    "session_create": "a password",
}

REFUSED_ALONE = {"jobs_batch", "messages_batch", "broadcasts_create"}
"""Their schema says what a good item is; a bad one is refused in the result, and the others are accepted."""

config = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {"deterministic": True, "max-examples": 25, "database": "none"},
        "suppress-health-check": ["too_slow"],
    }
)
schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application, config=config)
turns = count()


@pytest.fixture(autouse=True)
def _same_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example finds its row in the same state, whatever ran before this test."""
    monkeypatch.setitem(globals(), "turns", count())


@pytest.fixture(autouse=True)
def _connection_kept() -> Iterator[None]:
    """A request ends by closing a connection that is inside a transaction, as all of these tests' are."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
def test_every_operation_answers_as_its_schema_says(case: schemathesis.Case) -> None:
    assert_answered_as_documented(case, make_caller())


@schema.include(path_regex="job_id").parametrize()
def test_every_operation_on_an_existing_job_answers_as_its_schema_says(case: schemathesis.Case) -> None:
    caller = make_caller()
    if is_uuid(case.path_parameters.get("job_id")):
        status = sorted(Status)[next(turns) % len(Status)]
        case.path_parameters["job_id"] = str(make_job(status, user=caller).pk)
    assert_answered_as_documented(case, caller)


@schema.include(path_regex="message_id").parametrize()
def test_every_operation_on_an_existing_message_answers_as_its_schema_says(case: schemathesis.Case) -> None:
    caller = make_caller()
    if is_uuid(case.path_parameters.get("message_id")):
        status = sorted(MessageStatus)[next(turns) % len(MessageStatus)]
        case.path_parameters["message_id"] = str(make_message(status, user=caller).pk)
    assert_answered_as_documented(case, caller)


@schema.include(path_regex="templates/.name|streams/.name|address").parametrize()
def test_every_operation_on_a_template_or_suppression_answers_as_its_schema_says(
    case: schemathesis.Case,
) -> None:
    caller = make_caller()
    Template.objects.update_or_create(user=caller, name="news", defaults={"subject": "{{ a }}", "text": "{{ b }}"})
    Suppression.objects.suppress("ada@example.org", "manual", "all", None, source="test")
    Stream.objects.ensure([(caller.pk, "news")])
    StreamSuppression.objects.add(caller.pk, "news", address_digest("ada@example.org"), "ada@example.org", "test")
    there = {"name": "news", "address": "ada@example.org"}
    case.path_parameters |= {name: there[name] for name in case.path_parameters if name in there}
    assert_answered_as_documented(case, caller)


@schema.include(path_regex="broadcast_id").parametrize()
def test_every_operation_on_an_existing_broadcast_answers_as_its_schema_says(case: schemathesis.Case) -> None:
    caller = make_caller()
    if is_uuid(case.path_parameters.get("broadcast_id")):
        broadcast = Broadcast.objects.create(user=caller, subject="News", recipients=[])
        make_message(user=caller, broadcast=broadcast, row=1)
        case.path_parameters["broadcast_id"] = str(broadcast.pk)
    assert_answered_as_documented(case, caller)


def make_caller() -> User:
    """Examples share a transaction, and so the user; each has a token of its own, for some operations revoke it."""
    cache.clear()
    return User.objects.get_or_create(username="ada", is_staff=True)[0]


def assert_answered_as_documented(case: schemathesis.Case, caller: User) -> None:
    operation = case.operation.definition.raw["operationId"]
    excluded = [
        check
        for check, operations in ((ACCEPTANCE, GOOD_BEYOND_SCHEMA), (REJECTION, REFUSED_ALONE))
        if operation in operations
    ]
    case.call_and_validate(headers={"Authorization": f"Token {make_token(caller)}"}, excluded_checks=excluded)


def is_uuid(value: object) -> bool:
    try:
        return bool(UUID(str(value)))
    except ValueError:
        return False
