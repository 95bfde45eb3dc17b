"""The kinds of job: how they are declared, found and described, and how params become arguments."""

import re
from datetime import date

import pytest
from rest_framework import serializers

from jobs import kinds as shipped
from jobs import registry
from jobs.errors import JobError
from jobs.registry import NoParams, UnknownKind, find_kind, job, kinds, minutes
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.strict import StrictSerializer
from tests.support.factories import make_kind


class ReportParams(StrictSerializer):
    day = serializers.DateField()
    regions = serializers.ListField(child=serializers.CharField(), required=False)
    depth = serializers.IntegerField(default=1)


@pytest.fixture
def _own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_kinds", {})


@pytest.mark.usefixtures("_own_kinds")
def test_a_kind_is_declared_in_a_few_lines_and_found_by_its_name() -> None:
    @job("test.report", params=ReportParams, timeout=minutes(10), retry=exponential(attempts=5), queue="slow")
    def report(run: Run, *, day: date) -> dict[str, int]:
        return {}

    kind = find_kind("test.report")
    assert (kind.name, kind.handler, kind.params, kind.timeout, kind.queue) == (
        "test.report",
        report,
        ReportParams,
        600,
        "slow",
    )
    assert kind.retry.attempts == 5
    assert report(None, day=None) == {}


@pytest.mark.usefixtures("_own_kinds")
def test_a_kind_needs_nothing_but_its_name() -> None:
    job("test.plain")(lambda run: None)
    kind = find_kind("test.plain")
    assert (kind.params, kind.timeout, kind.retry) == (NoParams, 600, exponential())
    assert (kind.queue, kind.threads, kind.description) == ("default", 0, "")


@pytest.mark.usefixtures("_own_kinds")
def test_two_kinds_of_one_name_stop_the_start() -> None:
    job("test.twice")(lambda run: 1)
    first = find_kind("test.twice")
    with pytest.raises(JobError, match=re.escape("'test.twice'")):
        job("test.twice")(lambda run: 2)
    assert find_kind("test.twice") is first


@pytest.mark.usefixtures("_own_kinds")
def test_kinds_are_listed_by_name() -> None:
    for name in ("b", "c", "a"):
        job(name)(lambda run: None)
    assert [kind.name for kind in kinds()] == ["a", "b", "c"]


def test_an_unknown_kind_says_its_name() -> None:
    with pytest.raises(UnknownKind, match=r"no\.such"):
        find_kind("no.such")


def test_the_kinds_that_ship_are_known_at_start_up() -> None:
    assert find_kind("demo.countdown").handler is shipped.countdown


def test_the_description_is_the_first_paragraph_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(run: Run) -> None:
        """Count what there is
        to be counted.

        And this is for developers.
        """

    assert make_kind(monkeypatch, handler).description == "Count what there is to be counted."


@pytest.mark.parametrize(("count", "seconds"), [(1, 60), (0.5, 30), (0, 0), (1.499, 90)])
def test_minutes_are_whole_seconds(count: float, seconds: int) -> None:
    assert minutes(count) == seconds
    assert type(minutes(count)) is int


def test_stored_params_reach_the_handler_as_python_values(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = make_kind(monkeypatch, lambda run: None, params=ReportParams)
    assert kind.handler_arguments({"day": "2026-03-01"}) == {"day": date(2026, 3, 1), "depth": 1}
    assert kind.handler_arguments({"day": "2026-03-01", "regions": ["north"], "depth": "2"}) == {
        "day": date(2026, 3, 1),
        "regions": ["north"],
        "depth": 2,
    }


@pytest.mark.parametrize(
    "params", [{}, {"day": "yesterday"}, {"day": "2026-03-01", "dya": 1}, [], "text", None, 1, {"day": None}]
)
def test_bad_params_are_refused_both_on_submission_and_before_the_handler_runs(
    monkeypatch: pytest.MonkeyPatch, params: object
) -> None:
    kind = make_kind(monkeypatch, lambda run: None, params=ReportParams)
    with pytest.raises(serializers.ValidationError):
        kind.validate_params(params)
    with pytest.raises(serializers.ValidationError):
        kind.handler_arguments(params)


def test_an_unknown_param_is_named() -> None:
    with pytest.raises(serializers.ValidationError) as refused:
        find_kind("demo.countdown").validate_params({"seconds": 1, "second": 2, "b": 3})
    assert refused.value.get_codes() == {"second": ["unknown"], "b": ["unknown"]}


@pytest.mark.parametrize("params", [{"x": 1}, [1], "x"])
def test_a_kind_without_params_takes_none(monkeypatch: pytest.MonkeyPatch, params: object) -> None:
    kind = make_kind(monkeypatch, lambda run: None)
    assert kind.handler_arguments({}) == {}
    with pytest.raises(serializers.ValidationError):
        kind.validate_params(params)


def test_every_shipped_kind_describes_itself_and_has_limits() -> None:
    for kind in kinds():
        if kind.handler.__module__.startswith("tests."):
            continue
        assert kind.description, kind.name
        assert kind.timeout > 0, kind.name


@pytest.mark.usefixtures("_own_kinds")
@pytest.mark.parametrize("option", ["prepare", "conclude"])
def test_only_kinds_with_threads_prepare_and_conclude_many_jobs_at_once(option: str) -> None:
    with pytest.raises(JobError, match="has no threads"):
        job("test.plain", **{option: list})(lambda run: None)
    job("test.pooled", threads=2, **{option: list})(lambda run: None)
    assert getattr(find_kind("test.pooled"), option) is list
