"""The jobs' tables, and the statements that read and write them."""

from jobs.models.cluster import Cluster
from jobs.models.counter import Counter
from jobs.models.database_cache import CacheEntry
from jobs.models.job import DEFAULT_QUEUE, Job
from jobs.models.outputs import Output
from jobs.models.pause import Pause
from jobs.models.trace import Trace

__all__ = ["DEFAULT_QUEUE", "CacheEntry", "Cluster", "Counter", "Job", "Output", "Pause", "Trace"]
