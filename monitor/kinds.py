"""The kinds of the task monitor: monitor.bulk_action, which does what an operator has confirmed."""

from typing import Any

from django.contrib.admin.models import LogEntry
from rest_framework import serializers

from jobs.registry import job, minutes
from jobs.run import Run
from monitor.bulk import ACTIONS, KIND, PRIORITIES, Order
from monitor.job_filter import JobFilter
from rest.requests.strict import StrictSerializer


class BulkActionParams(StrictSerializer):
    """An Order (monitor/bulk.py), and the entry in the admin's log that records it."""

    action = serializers.ChoiceField(sorted(ACTIONS))
    filter = serializers.DictField()
    ids = serializers.ListField(child=serializers.UUIDField(), max_length=1000)
    value = serializers.IntegerField(min_value=PRIORITIES[0], max_value=PRIORITIES[1])
    expected = serializers.IntegerField(min_value=0)
    until = serializers.UUIDField()
    log_entry = serializers.IntegerField()


@job(KIND, params=BulkActionParams, timeout=minutes(60), internal=True)
def bulk_action(run: Run, *, filter: dict[str, Any], log_entry: int, **given: Any) -> dict[str, Any]:
    """Do an operator's action to a selection of jobs, or to all that a filter matches, in batches.

    May be repeated after a lost attempt: a job that has been changed does not allow the action any more.
    """
    given["ids"], given["until"] = tuple(str(pk) for pk in given["ids"]), str(given["until"])
    order = Order(filter=JobFilter.from_query(filter), **given)
    seen = changed = 0
    entry = LogEntry.objects.select_related("user").get(pk=log_entry)
    by = f"the bulk action {run.job_id} ({order.describe()})"
    for batch in order.batches():
        seen += len(batch)
        # Never this bulk job itself.
        changed += len(order.execute(batch.exclude(pk=run.job_id), entry.user, by))
        run.progress(min(100 * seen / max(order.expected, seen), 99.9), f"{changed} of {seen} jobs {order.done}")
    LogEntry.objects.filter(pk=log_entry).update(change_message=f"{changed} of {seen} jobs {order.done}")
    return {"jobs": seen, "changed": changed}
