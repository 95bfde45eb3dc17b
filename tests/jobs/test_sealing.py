"""Secrets in params: encrypted in the database, used by the job, shown to nobody."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.registry import find_kind
from jobs.sealing import HIDDEN, seal, shown_params, unseal

pytest_plugins = ["tests.support.api_fixtures"]

SECRET = "Bearer not-for-everybody"
HEADERS = {"Authorization": SECRET, "cookie": SECRET, "X-Api-Key": SECRET, "Accept": "text/html"}
CALL = {
    "kind": "http.request",
    "params": {"url": "https://example.org/", "headers": HEADERS, "secret_headers": ["x-api-key"]},
}


@pytest.mark.django_db
def test_secret_headers_are_stored_encrypted_and_never_shown(api: APIClient, ada: User) -> None:
    answer = api.post("/api/v1/jobs/", CALL)
    assert answer.status_code == 202, answer.content
    job = Job.objects.get()
    for shown in (answer, api.get(f"/api/v1/jobs/{job.pk}/"), api.get("/api/v1/jobs/")):
        text = shown.content.decode()
        assert SECRET not in text
        assert "sealed" not in text
    hidden = {"Authorization": HIDDEN, "cookie": HIDDEN, "X-Api-Key": HIDDEN, "Accept": "text/html"}
    assert answer.json()["params"]["headers"] == hidden
    assert SECRET not in str(Job.objects.values().get())
    assert find_kind("http.request").handler_arguments(job.params)["headers"] == HEADERS


def test_an_old_key_still_unseals_and_a_foreign_one_does_not(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old" * 20, []
    sealed = seal(SECRET)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, ["old" * 20]
    assert unseal(sealed) == SECRET
    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(sealed) == sealed


def test_what_is_not_sealed_stays_as_it_is() -> None:
    assert unseal("sealed:nonsense") == "sealed:nonsense"
    assert unseal(SECRET) == SECRET
    assert shown_params({"a": 1, "b": {"c": seal("x")}, "d": seal("y")}) == {"a": 1, "b": {"c": HIDDEN}, "d": HIDDEN}
    assert shown_params([1]) == [1]
