"""Jobs of demo.remote and their leases, as a remote worker gets them over HTTP."""

from typing import Any

from rest_framework.test import APIClient

LEASES, JOBS = "/api/v1/leases/", "/api/v1/jobs/"
DEVICE = {"worker": "device-1", "kinds": ["demo.remote"]}
NOTE = {"kind": "demo.remote", "params": {"note": "water the plants"}}


def post_job(api: APIClient, **more: Any) -> dict[str, Any]:
    answer = api.post(JOBS, NOTE | more)
    assert answer.status_code == 202, answer.content
    job: dict[str, Any] = answer.json()
    return job


def lease(api: APIClient, worker: str = "device-1", *kinds: str) -> dict[str, Any]:
    answer = api.post(LEASES, {"worker": worker, "kinds": kinds or ["demo.remote"]})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found
