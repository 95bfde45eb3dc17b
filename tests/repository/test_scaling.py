"""What deploy/ scales by is what the simulation recommends, and the simulation does what it says."""

from typing import Any

import pytest
import yaml

from benchmarks.scaling import __main__ as report
from benchmarks.scaling.load import LOADS, Load, bursts, day
from benchmarks.scaling.policies import ELASTIC_BEANSTALK, IDLE, KUBERNETES, POLICIES, Seen, step_age_and_idle
from benchmarks.scaling.simulation import WORKERS, Machines, simulate
from demo.stack import ROOT

STEADY = Load("steady", lambda minute: 600, 120, seconds=1, cpu=0.1)
"""Ten jobs at the same time."""


def resources() -> dict[str, Any]:
    file = ROOT / "deploy/elastic_beanstalk/.ebextensions/20-worker-scaling.config"
    found: dict[str, Any] = yaml.safe_load(file.read_text())["Resources"]
    return {name: resource["Properties"] for name, resource in found.items()}


def scaled_object() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/scaling.yaml").read_text())
    [found] = [each["spec"] for each in documents if each["kind"] == "ScaledObject"]
    return dict(found)


def test_elastic_beanstalk_scales_by_the_thresholds_that_were_simulated() -> None:
    found, steps = resources(), ELASTIC_BEANSTALK
    out, idle = found["JobsWait"], found["WorkersIdle"]
    assert (out["MetricName"], out["Threshold"], out["EvaluationPeriods"]) == (
        *("OldestWaitingSeconds", steps.out, steps.after),
    )
    assert (idle["MetricName"], idle["EvaluationPeriods"]) == ("BusyWorkersPercent", steps.quiet)
    assert idle["Threshold"] == pytest.approx(100 * (1 - IDLE))
    first, second = found["WorkerScaleOut"]["StepAdjustments"]
    assert (first["ScalingAdjustment"], second["ScalingAdjustment"]) == (25, 100)
    assert out["Threshold"] + second["MetricIntervalLowerBound"] == steps.urgent
    [fewer] = found["WorkerScaleIn"]["StepAdjustments"]
    assert fewer["ScalingAdjustment"] == -100 * steps.shrink
    assert found["WorkerScaleOut"]["EstimatedInstanceWarmup"] == Machines().starts_in


def test_kubernetes_scales_by_the_thresholds_that_were_simulated() -> None:
    found = scaled_object()
    age, running = found["triggers"]
    assert float(age["metadata"]["targetQueryValue"]) == KUBERNETES.target
    settings = next(yaml.safe_load_all((ROOT / "deploy/kubernetes/settings.yaml").read_text()))["data"]
    assert KUBERNETES.idle is not None
    share = float(running["metadata"]["targetQueryValue"]) / int(settings["WORKERS"])
    assert share == pytest.approx(1 - KUBERNETES.idle)
    behaviour = found["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 60 * KUBERNETES.window
    assert {"type": "Percent", "value": 100 * KUBERNETES.shrink, "periodSeconds": 60} in behaviour["scaleDown"][
        "policies"
    ]
    assert behaviour["scaleUp"]["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 60}]


def test_what_is_shipped_is_among_what_is_compared() -> None:
    assert set(report.SHIPPED) <= set(POLICIES)


def test_enough_machines_let_nobody_wait_and_too_few_let_the_queue_grow() -> None:
    enough = simulate(STEADY, lambda seen: 10)
    assert enough.within(10) == 1
    assert enough.jobs == pytest.approx(600 * 120, rel=0.02)
    assert enough.machine_hours == pytest.approx(20, rel=0.05)
    assert enough.handed_back == 0
    too_few = simulate(STEADY, lambda seen: 2)
    assert too_few.depths[-1] == pytest.approx((10 - 2 * WORKERS) * 60 * 120, rel=0.1)
    assert too_few.percentile(0.5) > 600


def test_a_machine_works_when_it_has_started() -> None:
    ordered = simulate(STEADY, lambda seen: 1 if len(seen) < 60 else 10, Machines(starts_in=300))
    assert ordered.depths[63] > ordered.depths[59]
    assert ordered.depths[119] < ordered.depths[64]


def test_jobs_of_a_machine_that_is_taken_away_start_anew() -> None:
    long = Load("long", lambda minute: 1, 120, seconds=1200, cpu=1)
    outcome = simulate(long, lambda seen: 6 if len(seen) < 60 else 2)
    assert 0 < outcome.handed_back <= 4 * WORKERS


def test_machines_that_start_are_not_ordered_twice() -> None:
    policy = step_age_and_idle(ELASTIC_BEANSTALK, IDLE)
    assert policy([Seen(age=20, depth=100, cpu=1, busy=1, machines=4, ready=4)]) == 5
    assert policy([Seen(age=60, depth=100, cpu=1, busy=1, machines=8, ready=4)]) == 8


def test_a_day_has_its_peak_and_its_night() -> None:
    jobs = day(peak=6_000)
    assert max(jobs(minute) for minute in range(1440)) == pytest.approx(100)
    assert min(jobs(minute) for minute in range(1440)) == pytest.approx(10)
    assert sum(bursts(0, 7, every=240)(minute) for minute in range(1440)) == 42


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_the_report_is_written_for_every_load(load: Load, tmp_path: Any) -> None:
    report.main(["--results", str(tmp_path), "--minutes", "30", "--share", "0.01"])
    page = (tmp_path / "scaling.md").read_text()
    assert all(f"| {name} |" in page for name in POLICIES)
    assert (tmp_path / f"scaling-{load.name.replace(' ', '-')}.svg").read_text().startswith("<svg")
