"""What is thrown away once an hour: finished jobs, used keys and expired tokens, each after its time and no sooner."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import maintenance
from jobs.models import Job, queryset
from jobs.models.queryset import first_id_at
from jobs.models.states import TERMINAL, WAITING
from project.models import Token
from rest.models import IdempotencyKey
from tests.support.factories import do_all_chores, make_job, make_user

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def make_finished_job(status: str, age: timedelta, number: int = 0) -> Job:
    """A job that ended so long ago, and was made just before."""
    ended = timezone.now() - age
    return make_job(status, pk=UUID(int=first_id_at(ended - MINUTE).int + number), finished_at=ended)


def make_key(age: timedelta) -> IdempotencyKey:
    key = f"used {age} ago"
    return IdempotencyKey.objects.create(user=make_user(key), key=key, created_at=timezone.now() - age)


def make_token(name: str, left: timedelta) -> Token:
    token, _ = Token.objects.create(user=make_user(name), expiry=timedelta(days=1), name=name)
    Token.objects.filter(pk=token.pk).update(expiry=timezone.now() + left)
    return token


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_finished_jobs_are_kept_for_as_long_as_the_retention_of_their_status_says(status: str) -> None:
    kept = settings.JOB_RETENTION[status]
    make_finished_job(status, kept + MINUTE)
    recent = make_finished_job(status, kept - MINUTE)

    do_all_chores()

    assert list(Job.objects.all()) == [recent]


def test_failed_jobs_are_kept_longer_than_the_others() -> None:
    days = {status: kept.days for status, kept in settings.JOB_RETENTION.items()}
    assert days == {"succeeded": 7, "cancelled": 7, "failed": 30}


@pytest.mark.parametrize("status", sorted(WAITING))
def test_what_has_not_finished_is_never_thrown_away(status: str) -> None:
    job = make_job(status, pk=first_id_at(timezone.now() - timedelta(days=999)))

    do_all_chores()

    assert Job.objects.filter(pk=job.pk).exists()


def test_many_jobs_are_thrown_away_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no statement locks many rows, or takes long."""
    monkeypatch.setattr(queryset, "BATCH", 10)
    for number in range(25):
        make_finished_job("succeeded", settings.JOB_RETENTION["succeeded"] + MINUTE, number)

    with CaptureQueriesContext(connection) as queries:
        assert sum(maintenance.prune_finished_jobs()) == 25

    deletions = [query["sql"] for query in queries if query["sql"].startswith('DELETE FROM "jobs_job"')]
    assert len(deletions) == 3


def test_idempotency_keys_are_kept_for_a_day() -> None:
    make_key(timedelta(hours=24) + MINUTE)
    recent = make_key(timedelta(hours=24) - MINUTE)

    do_all_chores()

    assert list(IdempotencyKey.objects.all()) == [recent]


def test_tokens_are_thrown_away_when_they_have_expired() -> None:
    make_token("expired", -MINUTE)
    live = make_token("live", MINUTE)

    do_all_chores()

    assert list(Token.objects.all()) == [live]
