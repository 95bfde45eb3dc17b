"""The file that a job has produced: who gets it and how, and that no other file stays behind, whatever goes wrong."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.errors import PermanentError
from jobs.filename import content_type_of, safe_filename
from jobs.maintenance import delete_orphaned_outputs
from jobs.models import Job, Output, outputs
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker.attempts.interrupt import Cancelled, Stopped
from jobs.worker.worker import Worker
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_job, make_kind, make_user
from tests.support.standalone_worker import run

pytest_plugins = ["tests.support.worker_fixtures", "tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    cache.clear()
    return tmp_path / "media"


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def write(run: Run) -> None:
    with run.output("Größe 1.bin", "application/x-thing") as file:
        file.write(CONTENT)


def make_output(user: User | None = None, **fields: Any) -> Job:
    """A succeeded job with a file."""
    job = make_job(Status.RUNNING, user=user, **fields)
    write(Run(job))
    job.succeed(None)
    return job


def test_a_job_shows_its_file_once_it_has_succeeded(api: APIClient, ada: User) -> None:
    job = make_job(Status.RUNNING, user=ada)
    write(Run(job))
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["output"] is None
    job.succeed(None)
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["output"] == {
        "url": f"http://testserver/api/v1/jobs/{job.pk}/output/",
        "filename": "Größe 1.bin",
        "content_type": "application/x-thing",
        "size": len(CONTENT),
    }
    assert api.get("/api/v1/jobs/").json()["results"][0]["output"]["size"] == len(CONTENT)


def test_the_file_of_an_earlier_attempt_is_not_shown(api: APIClient, ada: User) -> None:
    job = make_output(ada)
    Job.objects.filter(pk=job.pk).update(attempt=2)
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["output"] is None


def url_of(job: Job) -> str:
    return f"/api/v1/jobs/{job.pk}/output/"


def test_the_owner_downloads_what_the_handler_has_written(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, ada: User, api: APIClient
) -> None:
    make_kind(monkeypatch, write)
    done = run(worker, user=ada)
    assert done["status"] == Status.SUCCEEDED
    answer = api.get(f"/api/v1/jobs/{done['id']}/output/")
    assert answer.status_code == 200
    assert answer.streaming
    assert b"".join(answer.streaming_content) == CONTENT
    assert answer["Content-Type"] == "application/x-thing"
    assert answer["Content-Length"] == str(len(CONTENT))
    assert answer["Content-Disposition"] == "attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe%201.bin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"].startswith("private")


def test_head_says_the_same_without_the_file(ada: User, api: APIClient) -> None:
    job = make_output(ada)
    whole, head = api.get(url_of(job)), api.head(url_of(job))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Content-Disposition", "ETag", "X-Content-Type-Options"):
        assert head[name] == whole[name]
    whole.close()


def test_a_client_that_has_the_file_is_not_sent_it_again(ada: User, api: APIClient) -> None:
    job = make_output(ada)
    etag = api.head(url_of(job))["ETag"]
    answer = api.get(url_of(job), headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)


def test_nobody_else_gets_it_not_even_staff(ada: User) -> None:
    job = make_output(ada)
    boss = make_user("boss")
    User.objects.filter(pk=boss.pk).update(is_staff=True, is_superuser=True)
    assert_problem(client(make_token(boss)).get(url_of(job)), 404)
    assert_problem(client().get(url_of(job)), 401)


def test_a_job_that_made_no_file_has_no_output(ada: User, api: APIClient) -> None:
    assert_problem(api.get(url_of(make_job("succeeded", user=ada))), 404)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUCCEEDED}))
def test_there_is_no_output_until_the_job_has_succeeded(ada: User, api: APIClient, status: str) -> None:
    job = make_job(status, user=ada)
    write(Run(job))
    assert_problem(api.get(url_of(job)), 404)


def test_a_file_that_has_gone_from_the_storage_is_a_404(ada: User, api: APIClient, media: Path) -> None:
    job = make_output(ada)
    [file] = files(media)
    file.unlink()
    assert_problem(api.get(url_of(job)), 404)


def test_the_name_of_a_file_in_the_storage_cannot_be_guessed_and_is_not_shown(
    ada: User, api: APIClient, media: Path
) -> None:
    job = make_output(ada)
    [file] = files(media)
    assert re.fullmatch("[0-9a-f]{32}", file.name)
    headers = str(api.head(url_of(job)).headers)
    assert file.name not in headers


def fail(run: Run) -> None:
    write(run)
    raise ValueError("after the file")


def fail_inside(run: Run) -> None:
    with run.output("x") as file:
        file.write(b"x")
        raise PermanentError("in the file")


def stop(run: Run) -> None:
    write(run)
    raise Stopped("the worker goes")


def cancel(run: Run) -> None:
    write(run)
    raise Cancelled("not wanted")


def return_no_json(run: Run) -> object:
    write(run)
    return object()


@pytest.mark.parametrize("handler", [fail, fail_inside, stop, cancel, return_no_json])
def test_an_attempt_that_does_not_succeed_leaves_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, media: Path, handler: Callable[[Run], object]
) -> None:
    make_kind(monkeypatch, handler)
    assert run(worker)["status"] != Status.SUCCEEDED
    assert files(media) == []
    assert not Output.objects.exists()


def test_a_storage_that_fails_fails_the_attempt_and_the_next_one_may_succeed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, media: Path
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    make_kind(monkeypatch, write)
    with monkeypatch.context() as full:
        full.setattr(default_storage, "save", refuse)
        found = run(worker)
    assert found["status"] == Status.RETRYING
    assert not Output.objects.exists()

    Job.objects.update(run_at=timezone.now() - timedelta(seconds=1))
    worker.turn()
    assert Job.objects.get().status == Status.SUCCEEDED
    assert len(files(media)) == Output.objects.finished().count() == 1


def test_a_job_has_one_output(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_twice(run: Run) -> None:
        write(run)
        write(run)

    make_kind(monkeypatch, write_twice)
    found = run(worker)
    assert (found["status"], found["errors"][-1]["type"]) == (Status.FAILED, "PermanentError")


@pytest.mark.django_db(transaction=True)
def test_a_file_is_not_stored_in_a_transaction_that_may_take_its_row_back(media: Path) -> None:
    job = make_job(Status.RUNNING)
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        write(Run(job))
    assert files(media) == []


def test_a_file_is_deleted_with_its_job(ada: User, api: APIClient, media: Path) -> None:
    job, other = make_output(ada), make_output(ada)
    assert api.delete(f"/api/v1/jobs/{job.pk}/").status_code == 204
    assert len(files(media)) == 1
    assert b"".join(api.get(url_of(other)).streaming_content) == CONTENT


def test_the_maintenance_task_deletes_orphaned_files_and_no_others(media: Path) -> None:
    kept = make_output()
    running = make_job(Status.RUNNING)
    write(Run(running))
    pruned = make_output()
    Job.objects.filter(pk=pruned.pk).delete()
    assert delete_orphaned_outputs() == 1
    assert set(Output.objects.values_list("job_id", flat=True)) == {kept.pk, running.pk}
    assert len(files(media)) == 2


@pytest.mark.parametrize(
    "changes", [{"attempt": 2}, {"worker": "there:2"}, {"status": Status.RETRYING, "lease_expires_at": None}]
)
def test_the_maintenance_task_deletes_the_file_of_a_killed_attempt(ada: User, changes: dict[str, Any]) -> None:
    job = make_job(Status.RUNNING, user=ada)
    write(Run(job))
    Job.objects.filter(pk=job.pk).update(**changes)
    assert delete_orphaned_outputs() == 1
    assert not Output.objects.exists()


def test_an_attempt_that_was_given_up_cannot_replace_the_file_of_another(ada: User, api: APIClient) -> None:
    """Both attempts have the number 1: the first one was handed back."""
    job = make_job(Status.RUNNING, user=ada)
    late = Run(Job.objects.get(pk=job.pk))
    Job.objects.filter(pk=job.pk).update(worker="there:2")
    job.refresh_from_db()
    with Run(job).text_output("right.txt") as file:
        file.write("right")
    job.succeed(None)
    write(late)
    assert b"".join(api.get(url_of(job)).streaming_content) == b"right"


def test_a_row_whose_file_may_still_be_written_is_left_alone(media: Path) -> None:
    """If the row was deleted first, nothing would ever delete the file that is stored afterwards."""
    lost = make_job(Status.RETRYING)
    output = Output.objects.create(job=lost, attempt=1, worker=lost.worker, filename="x", content_type="text/plain")
    assert delete_orphaned_outputs() == 0
    Output.objects.filter(pk=output.pk).update(created_at=timezone.now() - outputs.WRITTEN_WITHIN)
    assert delete_orphaned_outputs() == 1


def test_a_file_that_cannot_be_deleted_keeps_its_row_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, media: Path
) -> None:
    monkeypatch.setattr(outputs, "BATCH", 2)
    jobs = [make_output() for _ in range(5)]
    stubborn = Output.objects.get(job=jobs[1]).place
    Job.objects.all().delete()
    delete = default_storage.delete

    def delete_most(name: str) -> None:
        if name == stubborn:
            raise PermissionError(name)
        delete(name)

    with monkeypatch.context() as some:
        some.setattr(default_storage, "delete", delete_most)
        assert delete_orphaned_outputs() == 4
    assert delete_orphaned_outputs() == 1
    assert files(media) == []


def test_text_is_utf8_with_its_line_ends_as_they_are(ada: User, api: APIClient) -> None:
    job = make_job(Status.RUNNING, user=ada)
    with Run(job).text_output("a.csv") as file:
        file.write("ä\r\nb\n")
    job.succeed(None)
    answer = api.get(url_of(job))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert b"".join(answer.streaming_content) == "ä\r\nb\n".encode()


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("a.csv", "a.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.csv", "a.csv"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie: x"),
        ("gpj.\u202ecsv", "gpj._csv"),
        ("..", "output"),
        ("", "output"),
        ("\0", "_"),
        ("half\ud800.txt", "half_.txt"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("x" * 300, "x" * 200),
        ('say "hi".txt', 'say "hi".txt'),
    ],
)
def test_a_name_is_made_safe(given: str, safe: str) -> None:
    assert safe_filename(given) == safe


@pytest.mark.parametrize(
    "bad", ["text", "text/", "a/b\r\nX: y", "text/plain; charset=\n", "/", "a/b; c=d", "x/" + "y" * 100]
)
def test_an_invalid_content_type_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="content type"):
        content_type_of("a.csv", bad)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.csv", "text/csv"), ("a.json", "application/json"), ("a", "application/octet-stream")]
)
def test_the_content_type_is_guessed_from_the_ending(name: str, expected: str) -> None:
    assert content_type_of(name) == expected


def test_ids_in_the_url_are_checked(api: APIClient) -> None:
    assert_problem(api.get(f"/api/v1/jobs/{UUID(int=0)}/output/"), 404)
    assert_problem(api.get("/api/v1/jobs/x/output/"), 404)
