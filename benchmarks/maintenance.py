"""Keeps dispatchers from running the monitor's tasks, so that benchmarks.monitored can measure what they cost."""

import os

from jobs.cluster import maintenance

if os.environ.get("BENCH_WITHOUT_FIGURES"):
    maintenance._tasks[:] = [task for task in maintenance._tasks if not task.function.__module__.startswith("monitor.")]
