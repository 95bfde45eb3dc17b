"""`manage.py qcluster`: the worker process of the Procfile, in place of django-q's command of the same name."""

import gc
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.brokers import get_broker
from django_q.conf import Conf

from jobs.cluster.process import Process
from jobs.cluster.supervisor import Supervisor
from jobs.dispatcher import Dispatcher
from jobs.registry import IN_WORDS, QUEUE_NAME, kinds
from jobs.worker.io_worker import IoWorker
from jobs.worker.thread_pools import total_threads
from jobs.worker.worker import Worker

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
        parser.add_argument(
            "--workers", type=int, default=settings.WORKERS, help="Processes that run one job at a time."
        )
        parser.add_argument(
            "--io-workers",
            type=int,
            default=settings.IO_WORKERS,
            help="Processes that run kinds with threads, such as mail.",
        )

    def handle(self, *args: Any, queue: str | None, workers: int, io_workers: int, **options: Any) -> None:
        if min(workers, io_workers) < 0 or workers + io_workers < 1:
            raise CommandError(
                f"--workers is {workers} and --io-workers is {io_workers}: "
                "both must be 0 or more, and one of them 1 or more."
            )
        _name_cluster(Conf.CLUSTER_NAME if queue is None else queue)
        broker = get_broker()  # before the forks, which share what it imports; it connects when it is first used
        processes = [Process("worker", lambda place: Worker(place, broker)) for _ in range(workers)]
        processes += [Process("io-worker", partial(_io_worker, broker), total_threads()) for _ in range(io_workers)]
        processes.append(Process("dispatcher", lambda place: Dispatcher(broker)))
        gc.freeze()  # so that no collection in a child copies what it shares with the others
        Supervisor(processes, grace=settings.WORKER_GRACE).run()


def _io_worker(broker: Any, place: Process) -> IoWorker:
    broker.for_pools = True  # in this process
    return IoWorker(place, broker)


def _name_cluster(queue: str) -> None:
    """From here on, and in all children: to django-q a cluster's name is what its brokers and its schedules go by."""
    if not QUEUE_NAME.fullmatch(queue):
        raise CommandError(f"{queue!r} is no name of a queue; it must be {IN_WORDS}.")
    if queue not in {Conf.PREFIX, *(kind.queue for kind in kinds())}:
        log.warning("queue_of_no_kind", queue=queue)
    Conf.CLUSTER_NAME = queue
