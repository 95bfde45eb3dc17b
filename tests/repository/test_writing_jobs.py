"""docs/writing-jobs.md, taken at its word: its snippets are a module, and the kinds in it work at once."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from demo.stack import ROOT
from jobs import registry
from jobs.models import Job
from jobs.submit import submit
from tests.support.api_clients import assert_problem
from tests.support.inline_worker import run_due

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

DOCUMENT = ROOT / "docs" / "writing-jobs.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
SNIPPET, WITH_A_FILE, REMOTE, *ITS_TESTS = SNIPPETS


@pytest.fixture(autouse=True)
def snippets(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> ModuleType:
    """The snippets as one module, like the kinds.py of an app; their kinds are forgotten after the test."""
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(registry, "_kinds", dict(registry._kinds))
    module = ModuleType("docs.kinds")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for snippet in SNIPPETS:
        exec(compile(snippet, str(DOCUMENT), "exec"), module.__dict__)  # noqa: S102 the document is ours
    return module


def test_the_kind_is_posted_and_runs(api: APIClient) -> None:
    answer = api.post("/api/v1/jobs/", {"kind": "docs.greet", "params": {"names": ["Ada"]}})
    assert answer.status_code == 202
    run_due()
    job = api.get(answer.json()["url"]).json()
    assert (job["status"], job["result"]) == ("succeeded", {"greeted": 1})


def test_its_params_are_published_and_checked_as_the_document_says(api: APIClient) -> None:
    [kind] = [each for each in api.get("/api/v1/job-kinds/").json()["results"] if each["name"] == "docs.greet"]
    assert kind["description"] == "Greet everybody, one after the other."
    assert set(kind["params_schema"]["properties"]) == {"names"}
    for params in ({}, {"names": "Ada"}, {"names": ["Ada"], "loud": True}):
        assert_problem(api.post("/api/v1/jobs/", {"kind": "docs.greet", "params": params}), 400)
    assert Job.objects.count() == 0


def test_a_kind_takes_less_than_ten_lines() -> None:
    kind = SNIPPET[SNIPPET.index("class GreetParams") :]
    assert len([line for line in kind.splitlines() if line.strip()]) < 10


def test_the_kind_is_submitted_from_python_as_the_document_says(api: APIClient) -> None:
    assert 'submit("docs.greet", {"names": ["Ada"]}, user=' in DOCUMENT.read_text()
    ada = User.objects.get()
    job = submit("docs.greet", {"names": ["Ada"]}, user=ada)
    run_due()
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["result"] == {"greeted": 1}


def test_the_kind_with_a_file_is_downloaded(api: APIClient) -> None:
    url = api.post("/api/v1/jobs/", {"kind": "docs.names"}).json()["url"]
    run_due()
    assert api.get(url).json()["result"] == {"users": 1}
    answer = api.get(f"{url}output/")
    assert b"".join(answer.streaming_content) == b"name\r\nada\r\n"
    assert answer["Content-Disposition"] == 'attachment; filename="names.csv"'


def test_the_tests_in_the_document_pass(snippets: ModuleType) -> None:
    tests = [name for name in vars(snippets) if name.startswith("test_")]
    assert len(tests) == len(ITS_TESTS)
    for name in tests:
        getattr(snippets, name)()
