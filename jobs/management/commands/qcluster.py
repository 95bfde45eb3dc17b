"""`manage.py qcluster`: starts a cluster of workers and a dispatcher. Replaces django-q's command of that name."""

import gc
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.core.checks import ERROR
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.brokers import get_broker
from django_q.conf import Conf

from jobs.cluster.dispatcher import Dispatcher
from jobs.cluster.process import Process
from jobs.cluster.supervisor import Supervisor
from jobs.django_q.schedules import Schedules
from jobs.django_q.settings import problems
from jobs.registry import QUEUE_NAME, QUEUE_NAME_RULE, kinds
from jobs.worker.io_worker import IoWorker
from jobs.worker.reserve import ReserveWorker
from jobs.worker.thread_pools import total_threads
from jobs.worker.worker import Worker

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Run jobs and django-q tasks until SIGTERM or SIGINT."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue",
            "-n",
            "--name",
            dest="queue",
            help="Serve only this queue (like Q_CLUSTER_NAME). Default: all queues.",
        )
        parser.add_argument(
            "--workers",
            type=int,
            help="Number of processes that run one job at a time. Default: WORKERS, or Q_CLUSTER['workers'].",
        )
        parser.add_argument("--run-once", action="store_true", help="Exit as soon as nothing is due.")
        parser.add_argument(
            "--io-workers",
            type=int,
            default=settings.IO_WORKERS,
            help="Number of processes that run kinds with threads, such as mail. Default: IO_WORKERS.",
        )

    def handle(self, *args: Any, queue: str | None, io_workers: int, **options: Any) -> None:
        for problem in problems(settings.Q_CLUSTER):
            if problem.level >= ERROR:
                raise CommandError(problem.msg)
        _name_cluster(Conf.CLUSTER_NAME if queue is None else queue)
        # Not Conf.WORKERS by itself, which turns 0 into one per core.
        workers = Conf.conf.get("workers", Conf.WORKERS) if options["workers"] is None else options["workers"]
        if min(workers, io_workers) < 0 or workers + io_workers < 1:
            raise CommandError(
                f"--workers is {workers} and --io-workers is {io_workers}: "
                "both must be 0 or more, and one of them 1 or more."
            )
        broker = get_broker()  # before the forks, so that children share its imports; it connects on first use
        once: bool = options["run_once"]
        children = [Process("worker", partial(_worker, broker, once)) for _ in range(workers)]
        children += [
            Process("io-worker", partial(_io_worker, broker, once), total_threads()) for _ in range(io_workers)
        ]
        if not once and workers:
            occupied = [child.watchdog for child in children[:workers]]
            children.append(Process("reserve-worker", lambda handle: ReserveWorker(handle, broker, occupied)))
        if not once:
            watched = tuple(children)
            children.append(Process("dispatcher", lambda handle: Dispatcher(broker, watched)))
        gc.freeze()  # so that garbage collection in a child does not copy the pages that it shares with the others
        supervisor = Supervisor(children, grace=settings.WORKER_GRACE)
        if once:
            Schedules(broker).fire_due()
        supervisor.run(once=once)


def _worker(broker: Any, once: bool, handle: Process) -> Worker:
    worker = Worker(handle, broker)
    worker.until_idle = once
    return worker


def _io_worker(broker: Any, once: bool, handle: Process) -> IoWorker:
    broker.for_pools = True  # in this process
    worker = IoWorker(handle, broker)
    worker.until_idle = once
    return worker


def _name_cluster(queue: str) -> None:
    """Set django-q's cluster name, by which brokers and schedules are selected, for this process and its children."""
    if not QUEUE_NAME.fullmatch(queue):
        raise CommandError(f"{queue!r} is not a valid name of a queue; it must be {QUEUE_NAME_RULE}.")
    if queue not in {Conf.PREFIX, *(kind.queue for kind in kinds())}:
        log.warning("queue_of_no_kind", queue=queue)
    if queue != Conf.CLUSTER_NAME:
        _use_alternative(settings.Q_CLUSTER.get("ALT_CLUSTERS", {}).get(queue, {}))
    Conf.CLUSTER_NAME = queue


def _use_alternative(alternative: Mapping[str, Any]) -> None:
    """Apply the settings of this cluster in ALT_CLUSTERS, as django-q itself does on import with Q_CLUSTER_NAME."""
    for name, value in alternative.items():
        if name not in ("name", "cluster_name") and hasattr(Conf, name.upper()):
            setattr(Conf, name.upper(), value)
            Conf.conf[name] = value
