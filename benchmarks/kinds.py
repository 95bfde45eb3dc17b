"""The kinds of job that Legwork is measured with."""

import os
import time

from rest_framework import serializers

from benchmarks import work
from jobs.brokers.fair_share import FairShare
from jobs.registry import job
from jobs.run import Run
from rest.requests.strict import StrictSerializer

if os.environ.get("BENCH_WITHOUT_FAIR_SHARE"):  # benchmarks/fairness.py measures what fair claims cost
    FairShare.at_ceiling = lambda self: ()  # type: ignore[method-assign]


class SocketParams(StrictSerializer):
    """What bench.tell_start takes."""

    path = serializers.CharField()


class NapParams(StrictSerializer):
    """What bench.nap takes."""

    seconds = serializers.FloatField(min_value=0)


@job("bench.noop")
def noop(run: Run) -> int:
    """Do nothing."""
    return work.noop()


@job("bench.progress")
def progress(run: Run) -> int:
    """Report progress once."""
    run.progress(50, "half")
    return work.noop()


@job("bench.tell_start", params=SocketParams)
def tell_start(run: Run, *, path: str) -> int:
    """Say when it began."""
    return work.tell_start(path)


@job("bench.nap", params=NapParams)
def nap(run: Run, *, seconds: float) -> int:
    """Sleep."""
    time.sleep(seconds)
    return work.ANSWER
