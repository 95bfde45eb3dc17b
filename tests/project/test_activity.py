"""report.activity: what it counts, for whom, and on which day."""

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from rest_framework.test import APIClient

from jobs import registry
from jobs.models import Job
from mail.models import Message
from tests.support.api_clients import client, make_token
from tests.support.factories import do_all_chores, make_job, make_user
from tests.support.inline_worker import run_due
from tests.support.mail.messages import make_message

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

MAY = {"first_day": "2026-05-01", "last_day": "2026-05-03"}


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    cache.clear()


def at(day: int, hour: int = 12, **more: int) -> datetime:
    return datetime(2026, 5, day, hour, tzinfo=UTC, **more)


def reported(user: User, params: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Run the report; returns its job, and the lines of its file."""
    api: APIClient = client(make_token(user))
    url = api.post("/api/v1/jobs/", {"kind": "report.activity", "params": params}).json()["url"]
    run_due()
    answer = api.get(f"{url}output/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()
    return api.get(url).json(), list(csv.DictReader(text.splitlines()))


def nonzero(line: dict[str, str]) -> dict[str, int]:
    return {name: int(number) for name, number in line.items() if name != "day" and number != "0"}


def test_jobs_and_messages_are_counted_on_the_day_on_which_it_happened(ada: User) -> None:
    make_job("succeeded", user=ada, created_at=at(1), finished_at=at(2))
    make_job("failed", user=ada, created_at=at(2, 0), finished_at=at(2, 23, minute=59, second=59, microsecond=999999))
    make_job("cancelled", user=ada, created_at=at(3), finished_at=at(3))
    make_job("queued", user=ada, created_at=at(3))
    make_message("delivered", user=ada, created_at=at(1), sent_at=at(1), finished_at=at(3))
    make_message("bounced", user=ada, created_at=at(1), sent_at=at(2), finished_at=at(2))
    make_message("complained", user=ada, created_at=at(1), sent_at=at(2), finished_at=at(3))
    make_message("sent", user=ada, created_at=at(2), sent_at=at(2))
    make_message("suppressed", user=ada, created_at=at(2), finished_at=at(2))

    job, lines = reported(ada, MAY)

    assert [line["day"] for line in lines] == ["2026-05-01", "2026-05-02", "2026-05-03"]
    assert list(map(nonzero, lines)) == [
        {"jobs_created": 1, "mail_created": 3, "mail_sent": 1},
        {
            **{"jobs_created": 1, "jobs_succeeded": 1, "jobs_failed": 1},
            **{"mail_created": 2, "mail_sent": 3, "mail_bounced": 1, "mail_suppressed": 1},
        },
        {"jobs_created": 2, "jobs_cancelled": 1, "mail_delivered": 1, "mail_complained": 1},
    ]
    assert job["result"] == {"rows": 3, "filename": "activity-2026-05-01-to-2026-05-03.csv"}
    assert job["progress"]["percent"] == 100


def test_what_happened_before_and_after_does_not_count(ada: User) -> None:
    for moment in (at(1, 0) - timedelta(microseconds=1), at(4, 0)):
        make_job("succeeded", user=ada, created_at=moment, finished_at=moment)
        make_message("delivered", user=ada, created_at=moment, sent_at=moment, finished_at=moment)
    _, lines = reported(ada, MAY)
    assert list(map(nonzero, lines)) == [{}, {}, {}]


def test_every_status_in_which_something_ends_has_a_column(ada: User) -> None:
    _, [line] = reported(ada, {"days": 1})
    ends = {f"jobs_{end}" for end in ends_of(Job)} | {f"mail_{end}" for end in ends_of(Message)}
    assert ends <= line.keys()


def ends_of(model: type[Job] | type[Message]) -> set[str]:
    statuses = model._meta.get_field("status").choices or []
    return {str(value) for value, _ in statuses if model(status=value).finished}


def test_a_report_counts_the_users_own_work_and_for_staff_that_of_all(ada: User) -> None:
    boss = make_user("boss")
    User.objects.filter(pk=boss.pk).update(is_staff=True)
    for owner in (ada, make_user("bob"), None):
        make_job("succeeded", user=owner, created_at=at(1), finished_at=at(1))
        make_message("delivered", user=owner, created_at=at(1), sent_at=at(1), finished_at=at(1))
    of_ada, of_boss = (nonzero(reported(user, MAY)[1][0]) for user in (ada, boss))
    assert set(of_ada.values()) == {1}
    assert set(of_boss.values()) == {3}


@pytest.mark.parametrize(("params", "days"), [({}, 30), ({"days": 1}, 1), ({"days": 366}, 366)])
def test_a_report_covers_thirty_days_by_default(ada: User, params: dict[str, int], days: int) -> None:
    before = timezone.now().date()
    job, lines = reported(ada, params)
    after = timezone.now().date()
    assert len(lines) == job["result"]["rows"] == days
    assert date.fromisoformat(lines[-1]["day"]) in {before, after}
    assert date.fromisoformat(lines[-1]["day"]) - date.fromisoformat(lines[0]["day"]) == timedelta(days=days - 1)


@pytest.mark.parametrize(
    "params",
    [
        {"first_day": "2026-05-01"},
        {"last_day": "2026-05-01"},
        {"days": 3, **MAY},
        {"days": 0},
        {"days": 367},
        {"first_day": "2026-05-02", "last_day": "2026-05-01"},
        {"first_day": "2025-05-01", "last_day": "2026-05-02"},
        {"first_day": "yesterday", "last_day": "today"},
    ],
)
def test_invalid_spans_are_refused_before_anything_is_stored(ada: User, params: dict[str, Any]) -> None:
    answer = client(make_token(ada)).post("/api/v1/jobs/", {"kind": "report.activity", "params": params})
    assert answer.status_code == 400
    assert not Job.objects.exists()


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_first_and_the_last_day_of_the_calendar_can_be_reported(ada: User, day: str) -> None:
    job, [line] = reported(ada, {"first_day": day, "last_day": day})
    assert (job["status"], line["day"], nonzero(line)) == ("succeeded", day, {})


def test_a_report_is_read_from_a_replica_if_there_is_one() -> None:
    assert registry.find_kind("report.activity").reads == "replica"


def test_messages_that_were_deleted_are_still_counted(ada: User, settings: Any) -> None:
    make_message("delivered", user=ada, created_at=at(1), sent_at=at(1), finished_at=at(3))
    make_message("bounced", user=ada, created_at=at(1), sent_at=at(2), finished_at=at(2))
    make_message("sent", user=ada, created_at=at(2), sent_at=at(2))
    make_message("failed", user=make_user("grace"), created_at=at(2), finished_at=at(2))
    _, before = reported(ada, MAY)
    for day, left in [(at(2, 18), 1), (at(4), 0)]:
        settings.MAIL_RETENTION = settings.MAIL_BODY_RETENTION = timezone.now() - day
        do_all_chores()
        assert Message.objects.count() == left
        _, after = reported(ada, MAY)
        assert after == before
