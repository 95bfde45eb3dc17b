"""Fires django-q's schedules: enqueues a task for each that is due. A broken schedule does not stop the others.

django-q's own scheduler() handles all schedules in one transaction, which the first error ends.
"""

import ast
import time
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Min, Q, QuerySet
from django.utils import timezone
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.humanhash import humanize
from django_q.models import Schedule
from django_q.tasks import async_task
from django_q.utils import localtime

from jobs.brokers import outbox
from jobs.brokers.outbox import Outbox

log = structlog.get_logger(__name__)

OWN_PACKAGES = frozenset({"rest", "jobs", "mail", "project"})
BROKEN_FOR = 60.0
"""Seconds until a schedule that failed is tried again."""


class Schedules:
    """The schedules of this cluster."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._broken_until: dict[int, float] = {}

    def fire_due(self) -> int:
        """Enqueue a task for each due schedule; returns how many. Several dispatchers may call it at once."""
        if not Conf.SCHEDULER:
            return 0
        due = _of_this_cluster().filter(next_run__lt=timezone.now()).values_list("pk", flat=True)
        count = sum(self._fire(pk) for pk in due if not self._is_broken(pk))
        outbox.forward()
        return count

    def next_run(self) -> datetime | None:
        """When the next schedule is due, without the broken ones; None if there is none."""
        if not Conf.SCHEDULER:
            return None
        broken = [pk for pk in self._broken_until if self._is_broken(pk)]
        found: datetime | None = _of_this_cluster().exclude(pk__in=broken).aggregate(at=Min("next_run"))["at"]
        return found

    def _is_broken(self, pk: int) -> bool:
        return time.monotonic() < self._broken_until.get(pk, 0.0)

    def _fire(self, pk: int) -> bool:
        try:
            return fire(pk, self._broker)
        except Exception:  # a bad cron expression or argument, a broker's error: the other schedules must fire
            self._broken_until[pk] = time.monotonic() + BROKEN_FOR
            log.exception("schedule_failed", schedule_id=pk)
            return False


def fire(pk: int, broker: Broker) -> bool:
    """Enqueue the schedule's task and set its next run, unless another dispatcher has done so.

    Both are one transaction; that is why a task for a broker other than the database goes through the outbox.
    """
    with transaction.atomic():
        locked = _of_this_cluster().select_for_update(skip_locked=True)
        schedule = locked.filter(pk=pk, next_run__lt=timezone.now()).first()
        if schedule is None:
            return False
        require_allowed(schedule.func)
        if schedule.hook:
            require_allowed(schedule.hook)
        arguments, keywords = _arguments(schedule), _keywords(schedule)
        _set_next_run(schedule)
        options = _options(schedule, keywords, broker)
        schedule.task = async_task(schedule.func, *arguments, **keywords, q_options=options)
        _save(schedule)
    log.info("schedule_fired", schedule=schedule.name or pk, task=humanize(schedule.task))
    return True


class NotAllowed(Exception):
    """The schedule names a function that is not in Q_FUNCTIONS."""


def require_allowed(function: str) -> None:
    """Raises NotAllowed, unless the function is the project's own or in Q_FUNCTIONS.

    Without this check, a user who can write rows of schedules could have any function called, such as os.system.
    """
    own = function.partition(".")[0] in OWN_PACKAGES
    if not own and not any(_matches(function, allowed) for allowed in settings.Q_FUNCTIONS):
        raise NotAllowed(f"{function} is not in Q_FUNCTIONS, so no schedule may call it")


def _matches(function: str, allowed: str) -> bool:
    """allowed: a dotted path, or all functions below one: `reports.tasks.*`."""
    if allowed.endswith("*"):
        return function.startswith(allowed[:-1])
    return function == allowed


def _of_this_cluster() -> QuerySet[Schedule]:
    """Schedules that name no cluster belong to the default cluster."""
    own = Q(cluster=Conf.CLUSTER_NAME)
    if Conf.CLUSTER_NAME == Conf.PREFIX:
        own |= Q(cluster__isnull=True)
    schedules: QuerySet[Schedule] = Schedule.objects.exclude(repeats=0)
    return schedules.filter(own).order_by("next_run")


def _arguments(schedule: Schedule) -> tuple[Any, ...]:
    arguments = ast.literal_eval(schedule.args) if schedule.args else ()
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _keywords(schedule: Schedule) -> dict[str, Any]:
    """kwargs is a dict or the arguments of a call: x=1, y='two'."""
    if not schedule.kwargs:
        keywords: dict[str, Any] = {}
    else:
        try:
            keywords = dict(ast.literal_eval(schedule.kwargs))
        except (SyntaxError, ValueError):
            call: Any = ast.parse(f"f({schedule.kwargs})", mode="eval").body
            keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    if schedule.intended_date_kwarg:
        keywords[schedule.intended_date_kwarg] = schedule.next_run.isoformat()
    return keywords


def _options(schedule: Schedule, keywords: dict[str, Any], broker: Broker) -> dict[str, Any]:
    options: dict[str, Any] = dict(keywords.pop("q_options", None) or {})
    if schedule.hook:
        options["hook"] = schedule.hook
    named = options.pop("broker_name", None)
    options["cluster"] = schedule.cluster or options.get("cluster", named)
    if not isinstance(broker, ORM):
        options["broker"] = Outbox(options["cluster"] or Conf.CLUSTER_NAME)
    elif options["cluster"] in (None, Conf.CLUSTER_NAME):
        options["broker"] = broker
    options.setdefault("group", schedule.name or schedule.pk)
    return options


def _set_next_run(schedule: Schedule) -> None:
    """Without catch_up, missed runs are skipped."""
    if schedule.schedule_type == Schedule.ONCE:
        return
    next_run = schedule.calculate_next_run(schedule.next_run)
    while not Conf.CATCH_UP and next_run <= localtime():
        next_run = schedule.calculate_next_run(next_run)
    schedule.next_run = next_run
    if schedule.repeats > 0:
        schedule.repeats -= 1


def _save(schedule: Schedule) -> None:
    """A ONCE schedule is deleted after its run; with `repeats` it is kept, as a record."""
    if schedule.schedule_type == Schedule.ONCE and schedule.repeats < 0:
        schedule.delete()
        return
    if schedule.schedule_type == Schedule.ONCE:
        schedule.repeats = 0
    schedule.repeats = max(schedule.repeats, -1)
    schedule.save()
