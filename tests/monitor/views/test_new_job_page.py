"""Submitting a job by hand."""

import pytest
from django.test import Client

from jobs.models import Job
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

PAGE = "/admin/jobs/job/new/"


def test_the_form_shows_the_schema_of_the_kind(operator: Client) -> None:
    text = operator.get(f"{PAGE}?kind=demo.countdown").content.decode()
    assert "fail_attempts" in text
    assert "mail.send" not in text.partition("<form")[2].partition("</form>")[0]


def test_a_job_of_the_operator_is_submitted(operator: Client) -> None:
    operator.post(PAGE, {"kind": "demo.countdown", "params": '{"seconds": 3}'})
    job = Job.objects.get()
    assert (job.kind, job.params, job.user.username) == ("demo.countdown", {"seconds": 3}, "operator")


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("demo.countdown", "{", "not JSON"),
        ("demo.countdown", "[" * 5000, "not JSON"),
        ("demo.countdown", '{"seconds": "\\u0000"}', "NUL"),
        ("demo.countdown", '{"seconds": -1}', "greater than or equal"),
        ("demo.countdown", "[]", "dictionary"),
        ("mail.send", "{}", "no such kind"),
        ("nothing", "{}", "no such kind"),
    ],
)
def test_errors_are_shown_and_nothing_is_stored(operator: Client, kind: str, params: str, said: str) -> None:
    answer = operator.post(PAGE, {"kind": kind, "params": params})
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not Job.objects.exists()


def test_looking_is_not_enough() -> None:
    assert make_operator("jobs.view_job").get(PAGE).status_code == 403
