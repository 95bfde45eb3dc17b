"""How webhooks were answered, in sum over all web processes."""

from typing import Any

import pytest
from django.db import OperationalError

from jobs.models import Counter
from mail.events import ingest
from mail.webhooks import counts
from mail.webhooks.counts import WEBHOOKS, Outcome, WebhookCounts, webhook_counts
from tests.support.mail.mailgun_webhooks import make_attempt, make_event, post, sign

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    webhook_counts.write()
    Counter.objects.all().delete()


def tell(signature: dict[str, Any]) -> Any:
    return post({"signature": signature, "event-data": make_event(make_attempt())})


def test_each_answer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tell(sign()).status_code == 200
    assert tell(sign(key="another")).status_code == 406
    assert post({"hello": "world"}).status_code == 406

    def fails(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(ingest, "ingest", fails)
    assert tell(sign()).status_code == 503
    webhook_counts.write()
    expected = {("mailgun", outcome.value): 1 for outcome in Outcome}
    assert Counter.objects.totals(WEBHOOKS) == expected


def test_processes_add_to_the_same_count() -> None:
    one, other = WebhookCounts(), WebhookCounts()
    one.note("mailgun", Outcome.ACCEPTED)
    for _ in range(2):
        other.note("mailgun", Outcome.ACCEPTED)
    for process in (one, other, one):
        process.write()
    assert Counter.objects.totals(WEBHOOKS) == {("mailgun", "accepted"): 3}


def test_counts_that_could_not_be_written_are_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    process = WebhookCounts()
    process.note("mailgun", Outcome.FAILED)
    with monkeypatch.context() as away:
        away.setattr(counts.Counter.objects, "add", lambda *_: 1 / 0)
        process.write()
    process.note("mailgun", Outcome.FAILED)
    process.write()
    assert Counter.objects.totals(WEBHOOKS) == {("mailgun", "failed"): 2}
