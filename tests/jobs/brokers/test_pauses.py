"""No worker claims jobs of a paused kind or queue."""

from typing import Any

import pytest

from jobs.brokers import pauses
from jobs.brokers.orm import ORM
from jobs.brokers.pauses import paused_kinds
from jobs.models import Pause
from jobs.registry import kinds
from tests.support.factories import make_job, make_kind

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> ORM:
    monkeypatch.setattr(pauses, "READ_EVERY", 0.0)
    return ORM("legwork")


def pause(scope: str, name: str) -> None:
    Pause.objects.create(scope=scope, name=name, reason="x", by="ada")


def test_a_paused_kind_waits_and_others_go_on(broker: ORM) -> None:
    paused, other = make_job(kind="report.activity", priority=9), make_job()
    pause("kind", "report.activity")
    assert broker.claim("here:1", 5, [paused.kind, other.kind]) == [other]
    Pause.objects.all().delete()
    assert broker.claim("here:1", 5, [paused.kind]) == [paused]


def test_a_paused_pool_waits_and_others_go_on(broker: ORM) -> None:
    paused, other = make_job(kind="mail.send", queue="mail"), make_job(kind="http.request")
    pause("queue", "mail")
    free = {"mail.send": 4, "http.request": 4}
    assert broker.claim_for_pools("here:1", free) == [other]
    assert broker.claim_for_pools("here:1", {"mail.send": 4}) == []
    Pause.objects.all().delete()
    assert broker.claim_for_pools("here:1", free) == [paused]


def test_a_pause_is_read_at_most_once_a_second(django_assert_num_queries: Any) -> None:
    known = pauses.PausedKinds()
    with django_assert_num_queries(1):
        assert known.now() == known.now() == frozenset()


def test_a_paused_queue_is_all_of_its_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, name="test.slow", queue="slow")
    assert paused_kinds() == frozenset()
    pause("queue", "slow")
    pause("kind", "slow")
    assert paused_kinds() == {"test.slow"}
    pause("queue", "default")
    pause("queue", "mail")
    assert paused_kinds() == {kind.name for kind in kinds()}
