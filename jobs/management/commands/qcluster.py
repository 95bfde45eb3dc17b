"""`manage.py qcluster`: the worker process of the Procfile, in place of django-q's command of the same name."""

from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.brokers import get_broker
from django_q.conf import Conf

from jobs.child import Child
from jobs.cluster import Cluster
from jobs.dispatcher import Dispatcher
from jobs.registry import IN_WORDS, QUEUE_NAME, kinds
from jobs.worker import Worker

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Run jobs (and plain django-q tasks) until SIGTERM or SIGINT."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue",
            "-n",
            "--name",
            dest="queue",
            help="Serve this queue only, as with Q_CLUSTER_NAME; all by default.",
        )
        parser.add_argument("--workers", type=int, default=settings.WORKERS, help="Processes that run jobs.")

    def handle(self, *args: Any, queue: str | None, workers: int, **options: Any) -> None:
        if workers < 1:
            raise CommandError(f"--workers is {workers}, and must be 1 or more.")
        _name_cluster(Conf.CLUSTER_NAME if queue is None else queue)
        places = [Child("worker", lambda child: Worker(child, get_broker())) for _ in range(workers)]
        places.append(Child("dispatcher", lambda child: Dispatcher(get_broker())))
        Cluster(places, grace=settings.WORKER_GRACE).run()


def _name_cluster(queue: str) -> None:
    """From here on, and in all children: to django-q a cluster's name is what its brokers and its schedules go by."""
    if not QUEUE_NAME.fullmatch(queue):
        raise CommandError(f"{queue!r} is no name of a queue; it must be {IN_WORDS}.")
    if queue not in {Conf.PREFIX, *(kind.queue for kind in kinds())}:
        log.warning("queue_of_no_kind", queue=queue)
    Conf.CLUSTER_NAME = queue
