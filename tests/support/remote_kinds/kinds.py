"""Remote kinds whose leases last for seconds."""

from rest_framework import serializers

from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.strict import StrictSerializer

LEASE = 2
"""Seconds."""


class OwnedParams(StrictSerializer):
    owner = serializers.CharField(required=False)


@job("device.task", params=OwnedParams, remote=True, lease=LEASE, retry=exponential(attempts=None, base=0))
def task(run: Run, *, owner: str = "") -> None:
    """What a device does for its owner."""
