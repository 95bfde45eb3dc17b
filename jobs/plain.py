"""Plain django-q tasks (async_task, schedules), run and recorded by django-q's own worker and monitor functions."""

import queue
from multiprocessing import Value
from typing import Any

import structlog
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.monitor import monitor
from django_q.signing import SignedPackage
from django_q.worker import worker

STOP = "STOP"
"""What ends a queue for django-q's worker and monitor."""

log = structlog.get_logger(__name__)


def run(broker: Broker, receipt: Any, package: str) -> None:
    """Run one signed task package; a forged or broken one is dropped, as django-q does."""
    try:
        task = SignedPackage.loads(package)
    except Exception:  # forged, or a pickle of something that this version of the project does not have
        log.exception("plain_task_refused")
        broker.fail(receipt)
        return
    task |= {"cluster": Conf.CLUSTER_NAME, "ack_id": receipt}
    tasks: queue.Queue[Any] = queue.Queue()
    results: queue.Queue[Any] = queue.Queue()
    for item in (task, STOP):
        tasks.put(item)
    worker(tasks, results, Value("f", -1), Conf.TIMEOUT)
    results.put(STOP)
    monitor(results, broker)
