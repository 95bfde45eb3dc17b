"""`manage.py jobs`."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from jobs.models import Job
from jobs.models.states import Status
from monitor.management.commands import jobs as command
from tests.support.factories import make_error, make_job, make_user

pytestmark = pytest.mark.django_db


def run(*arguments: object) -> str:
    out = StringIO()
    call_command("jobs", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_list_takes_the_filters_of_the_page() -> None:
    failed, other = make_job(Status.FAILED, user=make_user("ada")), make_job()
    assert str(failed.pk) in run("list")
    said = run("list", "--status", "failed", "--owner", "ada")
    assert str(failed.pk) in said
    assert str(other.pk) not in said


def test_list_says_what_went_wrong_and_whether_there_is_more() -> None:
    make_job(Status.FAILED)
    make_job(Status.RETRYING, errors=[make_error("away\nfor now" + "." * 100)])
    said = run("list")
    assert "RuntimeError: it broke\n" in said
    assert "RuntimeError: away for now" in said
    assert "." * 61 not in said
    assert "There are older ones: --limit 2." in run("list", "--limit", 1)
    assert run("list", "--owner", "nobody").startswith("No job matches. Kinds that only")


@pytest.mark.parametrize("created", ["1h", "2026-01-31..", "..2026-01-31", "2026-01-31T10:00..2026-02-05"])
def test_list_takes_an_age_or_two_moments(created: str) -> None:
    assert run("list", "--created", created)


@pytest.mark.parametrize("created", ["3x", "..", "yesterday..", "2026-01-31"])
def test_list_refuses_any_other_value_of_created(created: str) -> None:
    with pytest.raises(CommandError, match="neither one of 1h, 24h, 7d nor FROM"):
        run("list", "--created", created)


def test_show_is_json_of_all_columns() -> None:
    job = make_job(Status.FAILED)
    shown = json.loads(run("show", job.pk))
    assert (shown["status"], shown["errors"][0]["message"]) == ("failed", "it broke")


def test_cancel_and_retry_do_what_the_state_allows() -> None:
    job = make_job()
    assert "Cancelled" in run("cancel", job.pk)
    assert "Queued again" in run("retry", job.pk)
    assert Job.objects.get().status == "queued"
    with pytest.raises(CommandError, match="queued"):
        run("retry", job.pk)
    done = make_job(Status.SUCCEEDED)
    with pytest.raises(CommandError, match="succeeded"):
        run("cancel", done.pk)
    assert "Asked to stop" in run("cancel", make_job(Status.RUNNING).pk)


def test_tail_follows_a_job_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(Status.RUNNING, progress={"percent": 40, "message": "half"})
    monkeypatch.setattr(command.time, "sleep", lambda seconds: Job.objects.get().succeed(None))
    said = run("tail", job.pk)
    assert "[############------------------]  40.0 %  running  attempt 1  half" in said
    assert "100.0 %  succeeded" in said


def test_tail_ends_at_ctrl_c_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    with pytest.raises(SystemExit) as ended:
        run("tail", make_job(Status.RUNNING).pk)
    assert ended.value.code == 130


def test_tail_of_a_failed_job_has_an_exit_status() -> None:
    with pytest.raises(SystemExit) as ended:
        run("tail", make_job(Status.FAILED).pk)
    assert ended.value.code == 1


def test_an_unknown_job_is_an_error() -> None:
    with pytest.raises(CommandError, match="There is no job"):
        run("show", uuid4())
