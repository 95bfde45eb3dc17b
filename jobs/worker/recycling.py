"""When a worker process is replaced by a fresh one: django-q's settings recycle and max_rss, for jobs and tasks."""

import resource

from django_q.conf import Conf


def is_worn(done: int) -> bool:
    """Whether a process that has run so many jobs and tasks is to be replaced.

    recycle: how many; django-q's default of 500 is not ours. max_rss: KiB of memory. 0 or nothing is no limit.
    """
    recycle, max_rss = Conf.conf.get("recycle"), Conf.conf.get("max_rss")
    if recycle and done >= recycle:
        return True
    return bool(max_rss) and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >= max_rss
