"""Roll-ups: what the dashboard and /metrics read instead of the jobs themselves."""

from monitor.models.errors import ErrorGroup, ErrorHour, FailedJob
from monitor.models.figures import JobFigures, MailFigures, QueueDepth, Release, RollupPosition

__all__ = [
    "ErrorGroup",
    "ErrorHour",
    "FailedJob",
    "JobFigures",
    "MailFigures",
    "QueueDepth",
    "Release",
    "RollupPosition",
]
