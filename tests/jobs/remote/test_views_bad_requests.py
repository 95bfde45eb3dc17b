"""What leases/ refuses: each bad request is a 400 that names the field, and changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status
from tests.support.api_clients import assert_problem
from tests.support.factories import row
from tests.support.leases import DEVICE, LEASES, lease, post_job

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "worker"),
        (DEVICE | {"worker": ""}, "worker"),
        (DEVICE | {"worker": 7}, "worker"),
        (DEVICE | {"worker": "w" * 101}, "worker"),
        (DEVICE | {"kinds": []}, "kinds"),
        (DEVICE | {"kinds": "demo.remote"}, "kinds"),
        (DEVICE | {"kinds": ["demo.remote"] * 101}, "kinds"),
        (DEVICE | {"kinds": [1]}, "kinds.0"),
        (DEVICE | {"kinds": ["demo.countdown"]}, "kinds"),
        (DEVICE | {"kinds": ["no.such"]}, "kinds"),
        (DEVICE | {"device": "x"}, "device"),
    ],
)
def test_a_bad_request_for_a_lease_is_400(api: APIClient, body: dict[str, Any], field: str) -> None:
    post_job(api)
    problem = assert_problem(api.post(LEASES, body), 400)
    assert field in [error["field"] for error in problem["errors"]]
    assert Job.objects.get().status == Status.QUEUED


def test_an_unknown_kind_is_told_which_there_are(api: APIClient) -> None:
    problem = assert_problem(api.post(LEASES, DEVICE | {"kinds": ["no.such"]}), 400)
    assert "no.such" in problem["errors"][0]["detail"]
    assert "demo.remote" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        ("", {"progress": {"percent": 101}}, "progress.percent"),
        ("", {"progress": {"percent": -1}}, "progress.percent"),
        ("", {"progress": {"percent": "40"}}, "progress.percent"),
        ("", {"progress": {"message": "no percent"}}, "progress.percent"),
        ("", {"progress": {"percent": 1, "message": "m" * 201}}, "progress.message"),
        ("", {"percent": 1}, "percent"),
        ("success/", {"result": "r" * (256 * 1024)}, "result"),
        ("success/", {"results": 1}, "results"),
        ("failure/", {}, "message"),
        ("failure/", {"message": ""}, "message"),
        ("failure/", {"message": "m" * 2001}, "message"),
        ("failure/", {"message": "m", "permanent": "yes"}, "permanent"),
        ("failure/", {"message": "m", "retry_after": -1}, "retry_after"),
        ("failure/", {"message": "m", "retry_after": 1e12}, "retry_after"),
        ("failure/", {"message": "m", "permanent": True, "retry_after": 1}, "retry_after"),
    ],
)
def test_a_bad_report_is_400_and_the_lease_is_kept(api: APIClient, call: str, body: dict[str, Any], field: str) -> None:
    post_job(api)
    held = lease(api)
    before = row(Job.objects.get())
    send: Callable[..., HttpResponse] = api.post if call else api.patch
    problem = assert_problem(send(f"{held['url']}{call}", body), 400)
    assert field in [error["field"] for error in problem["errors"]]
    assert row(Job.objects.get()) == before
