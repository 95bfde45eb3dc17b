"""`manage.py qcluster`: the worker process of the Procfile, in place of django-q's command of the same name."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django_q.brokers import get_broker

from jobs.child import Child
from jobs.cluster import Cluster
from jobs.dispatcher import Dispatcher
from jobs.worker import Worker


class Command(BaseCommand):
    help = "Run jobs (and plain django-q tasks) until SIGTERM or SIGINT."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queue", "-n", "--name", dest="queue", help="Serve this queue only; all by default.")
        parser.add_argument("--workers", type=int, default=settings.WORKERS, help="Processes that run jobs.")

    def handle(self, *args: Any, queue: str | None, workers: int, **options: Any) -> None:
        places = [Child("worker", lambda child: Worker(child, get_broker(queue))) for _ in range(workers)]
        places.append(Child("dispatcher", lambda child: Dispatcher(get_broker(queue))))
        Cluster(places, grace=settings.WORKER_GRACE).run()
