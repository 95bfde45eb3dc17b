"""`manage.py qcluster`: the worker process of the Procfile, in place of django-q's command of the same name."""

import gc
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.core.checks import ERROR, CheckMessage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.brokers import get_broker
from django_q.conf import Conf

from jobs.cluster.dispatcher import Dispatcher
from jobs.cluster.process import Process
from jobs.cluster.supervisor import Supervisor
from jobs.django_q.schedules import Schedules
from jobs.django_q.settings import problems
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
            "--workers", type=int, help="Processes that run one job at a time; WORKERS, or Q_CLUSTER['workers']."
        )
        parser.add_argument("--run-once", action="store_true", help="End as soon as nothing is due.")
        parser.add_argument(
            "--io-workers",
            type=int,
            default=settings.IO_WORKERS,
            help="Processes that run kinds with threads, such as mail.",
        )

    def handle(self, *args: Any, queue: str | None, io_workers: int, **options: Any) -> None:
        _refuse_errors(problems(settings.Q_CLUSTER))
        _name_cluster(Conf.CLUSTER_NAME if queue is None else queue)
        workers = _workers() if options["workers"] is None else options["workers"]
        if min(workers, io_workers) < 0 or workers + io_workers < 1:
            raise CommandError(
                f"--workers is {workers} and --io-workers is {io_workers}: "
                "both must be 0 or more, and one of them 1 or more."
            )
        broker = get_broker()  # before the forks, which share what it imports; it connects when it is first used
        once: bool = options["run_once"]
        processes = [Process("worker", partial(_worker, broker, once)) for _ in range(workers)]
        processes += [
            Process("io-worker", partial(_io_worker, broker, once), total_threads()) for _ in range(io_workers)
        ]
        if not once:
            watched = tuple(processes)
            processes.append(Process("dispatcher", lambda place: Dispatcher(broker, watched)))
        gc.freeze()  # so that no collection in a child copies what it shares with the others
        supervisor = Supervisor(processes, grace=settings.WORKER_GRACE)
        if once:
            Schedules(broker).fire_due()
            supervisor.run_once()
        else:
            supervisor.run()


def _workers() -> int:
    """As the settings say; django-q's own reading of them takes 0 for one a core."""
    workers: int = Conf.conf.get("workers", Conf.WORKERS)
    return workers


def _worker(broker: Any, once: bool, place: Process) -> Worker:
    worker = Worker(place, broker)
    worker.until_idle = once
    return worker


def _io_worker(broker: Any, once: bool, place: Process) -> IoWorker:
    broker.for_pools = True  # in this process
    worker = IoWorker(place, broker)
    worker.until_idle = once
    return worker


def _refuse_errors(messages: list[CheckMessage]) -> None:
    for message in messages:
        if message.level >= ERROR:
            raise CommandError(message.msg)


def _name_cluster(queue: str) -> None:
    """From here on, and in all children: to django-q a cluster's name is what its brokers and its schedules go by."""
    if not QUEUE_NAME.fullmatch(queue):
        raise CommandError(f"{queue!r} is no name of a queue; it must be {IN_WORDS}.")
    if queue not in {Conf.PREFIX, *(kind.queue for kind in kinds())}:
        log.warning("queue_of_no_kind", queue=queue)
    if queue != Conf.CLUSTER_NAME:
        _use_alternative(settings.Q_CLUSTER.get("ALT_CLUSTERS", {}).get(queue, {}))
    Conf.CLUSTER_NAME = queue


def _use_alternative(alternative: Mapping[str, Any]) -> None:
    """The settings of this cluster in ALT_CLUSTERS. With Q_CLUSTER_NAME django-q has read them at its import."""
    for name, value in alternative.items():
        if name not in ("name", "cluster_name") and hasattr(Conf, name.upper()):
            setattr(Conf, name.upper(), value)
            Conf.conf[name] = value
