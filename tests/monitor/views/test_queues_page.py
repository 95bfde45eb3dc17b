"""Queues and kinds, and pausing them."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from jobs.models import Pause
from monitor.rollups import depth
from tests.support.factories import make_job, make_kind
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

PAGE = "/admin/queues/"


def test_queues_and_kinds_are_shown_with_what_waits(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job(kind="http.request")
    monkeypatch.setattr(depth, "_not_before", 0.0)
    depth.sample_depth()
    answer = operator.get(PAGE)
    [default] = [queue for queue in answer.context["queues"] if queue["name"] == "default"]
    [kind] = [each for each in answer.context["kinds"] if each["kind"].name == "http.request"]
    assert (default["numbers"]["queued"], kind["numbers"]["queued"]) == (1, 1)
    assert "no cluster" in answer.content.decode()


def test_a_pause_has_a_reason_and_a_name_and_is_logged(operator: Client) -> None:
    operator.post(f"{PAGE}pause/", {"scope": "queue", "name": "mail", "reason": "the provider moves"})
    pause = Pause.objects.get()
    assert (pause.scope, pause.name, pause.reason, pause.by) == ("queue", "mail", "the provider moves", "operator")
    assert "the provider moves" in operator.get(PAGE).content.decode()
    operator.post(f"{PAGE}resume/", {"scope": "queue", "name": "mail"})
    assert not Pause.objects.exists()
    assert [entry.object_repr for entry in LogEntry.objects.order_by("pk")] == ["Pause queue mail", "Resume queue mail"]


@pytest.mark.parametrize(
    "form",
    [
        {"scope": "queue", "name": "mail", "reason": " "},
        {"scope": "queue", "name": "nowhere", "reason": "x"},
        {"scope": "kind", "name": "mail", "reason": "x"},
        {"scope": "user", "name": "mail", "reason": "x"},
        {},
    ],
)
def test_a_pause_of_nothing_or_without_a_reason_is_refused(operator: Client, form: dict[str, str]) -> None:
    assert operator.post(f"{PAGE}pause/", form).status_code == 400
    assert not Pause.objects.exists()


@pytest.mark.parametrize(("name", "scope"), [("mail", "queue"), ("http.request", "kind")])
def test_a_name_is_enough_whether_it_is_a_queue_or_a_kind(operator: Client, name: str, scope: str) -> None:
    operator.post(f"{PAGE}pause/", {"name": name, "reason": "x"})
    assert Pause.objects.get().scope == scope


def test_a_name_that_a_queue_and_a_kind_have_needs_a_choice(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, name="mail")
    answer = operator.post(f"{PAGE}pause/", {"name": "mail", "reason": "x"})
    assert "There are a queue and a kind mail: choose one of them." in answer.content.decode()
    operator.post(f"{PAGE}pause/", {"name": "mail", "scope": "kind", "reason": "x"})
    assert Pause.objects.get().scope == "kind"


def test_a_queue_that_only_stored_jobs_name_is_paused(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job(queue="of-another-release")
    monkeypatch.setattr(depth, "_not_before", 0.0)
    depth.sample_depth()
    operator.post(f"{PAGE}pause/", {"name": "of-another-release", "reason": "x"})
    assert Pause.objects.get().scope == "queue"


def test_a_refused_pause_keeps_what_was_typed(operator: Client) -> None:
    form = {"name": "nowhere", "scope": "kind", "reason": 'the "provider" moves'}
    text = operator.post(f"{PAGE}pause/", form).content.decode()
    assert 'value="nowhere"' in text
    assert "the &quot;provider&quot; moves" in text
    assert '<option value="kind" selected>' in text
    assert 'data-live="/admin/queues/?live=queues"' in text


def test_looking_is_not_enough_to_pause() -> None:
    viewer = make_operator("jobs.view_job", "jobs.operate_job")
    assert viewer.get(PAGE).status_code == 200
    assert viewer.post(f"{PAGE}pause/", {"scope": "queue", "name": "mail", "reason": "x"}).status_code == 403
    assert not Pause.objects.exists()
