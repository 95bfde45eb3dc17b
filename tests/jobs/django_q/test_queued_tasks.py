"""The admin's page of queued plain tasks, on each broker."""

from typing import Any

import pytest
from django.test import Client
from django_q.conf import Conf
from django_q.tasks import async_task

from tests.jobs.test_brokers import taken

pytest_plugins = ["tests.support.broker_fixtures", "tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/django_q/ormq/"


def test_tasks_in_the_database_are_listed(operator: Client) -> None:
    async_task("math.sqrt", 4, task_name="root of four")
    assert "root of four" in operator.get(PAGE).text


def test_tasks_on_redis_are_listed_also_when_they_were_taken(
    operator: Client, redis_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "BROKER_CLASS", "jobs.brokers.redis.Redis")
    async_task("math.sqrt", 4, task_name="root of four")
    redis_jobs.dequeue()
    async_task("math.sqrt", 9, task_name="root of nine")
    redis_jobs.enqueue("forged")
    page = operator.get(PAGE).text
    assert "root of four" in page
    assert "root of nine" in page
    assert "2 tasks wait, 1 were taken" in page


def test_tasks_on_sqs_are_only_counted(operator: Client, sqs_jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "BROKER_CLASS", "jobs.brokers.sqs.SQS")
    async_task("math.sqrt", 4)
    assert "1 tasks wait, 0 were taken" in operator.get(PAGE).text
    assert taken(sqs_jobs)


def test_a_broker_that_is_away_is_reported_in_a_sentence(
    operator: Client, redis_jobs: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "BROKER_CLASS", "jobs.brokers.redis.Redis")
    settings.BROKER = {"url": "redis://127.0.0.1:1/0", "class": "jobs.brokers.redis.Redis"}
    assert "The broker does not answer" in operator.get(PAGE).text


def test_only_staff_see_the_queued_tasks() -> None:
    assert Client().get(PAGE).status_code == 302
