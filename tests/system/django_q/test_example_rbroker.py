"""examples/rbroker: a project on plain django-q calls runs here as it is, and its time-outs are on time."""

import json
from collections.abc import Iterator

import pytest

from tests.support.brokers import PLACES, make_cluster_stack_on, on_each
from tests.support.cluster_stack import ClusterStack
from tests.support.timeouts import lost_time

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.system.django_q.rbroker_settings"}
TIME_OUT, FIRES_WITHIN = 2, 3
"""Seconds: what a device has, and when it is over at the latest."""


@pytest.fixture(params=on_each(PLACES, "rbroker"))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    folder = tmp_path_factory.mktemp(f"rbroker-{request.param}")
    with make_cluster_stack_on(request.param, request, folder, env=SETTINGS) as stack:
        yield stack


def test_the_scenario_of_a_broker_for_devices(stack: ClusterStack) -> None:
    with lost_time() as lost:
        report = json.loads(stack.manage("rbroker", "--timeout", str(TIME_OUT)))
    seconds = report.pop("seconds")
    assert report == {"on_time": "succeeded", "second_refused": True, "late": "timed out"}
    assert TIME_OUT <= seconds <= FIRES_WITHIN + lost()
