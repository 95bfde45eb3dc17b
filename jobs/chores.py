"""What the engine has thrown away once an hour besides jobs/housekeeping.py's own."""

from jobs.housekeeping import hourly
from jobs.outputs import Output


@hourly
def unwanted_outputs() -> int:
    """Files of jobs that were deleted, and of attempts that did not succeed."""
    discarded: int = Output.objects.unwanted().discard()
    return discarded
