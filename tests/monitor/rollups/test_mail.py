"""Mail is counted by minute and outcome."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models.queryset import first_id_at
from mail.models import Attempt, Event, Message
from monitor.models import MailFigures
from monitor.models.figures import EVER
from monitor.rollups.mail import count_mail
from tests.support.mail.messages import make_message

pytestmark = pytest.mark.django_db


def test_messages_attempts_and_believed_events_are_counted_once() -> None:
    pk = first_id_at(timezone.now() - timedelta(minutes=2))
    message: Message = make_message(id=pk)
    attempt = Attempt.objects.create(id=pk, message=message, provider="mailgun", outcome="accepted")
    Event.objects.create(id=pk, message=message, attempt=attempt, source="webhook", provider="mailgun", type="bounced")
    Event.objects.create(
        id=first_id_at(timezone.now() - timedelta(minutes=1)),
        source="webhook",
        type="bounced",
        disregarded="no attempt",
    )
    assert count_mail() == 3
    assert count_mail() == 0
    rows = MailFigures.objects.filter(minute=EVER).values_list("provider", "outcome", "count")
    assert set(rows) == {("", "created", 1), ("mailgun", "attempted", 1), ("mailgun", "bounced", 1)}
