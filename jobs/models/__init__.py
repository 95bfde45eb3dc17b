"""The jobs' tables, and the statements that read and write them."""

from jobs.models.database_cache import CacheEntry
from jobs.models.job import DEFAULT_QUEUE, Job
from jobs.models.outputs import Output

__all__ = ["DEFAULT_QUEUE", "CacheEntry", "Job", "Output"]
