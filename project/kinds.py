"""Kinds of job that concern more than one app: report.activity."""

import csv
from collections import Counter
from datetime import date, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework import serializers

from jobs.registry import job, minutes
from jobs.run import Run
from project.activity import COLUMNS, FIGURES, Counts, Span, deleted_message_counts, rows
from rest.requests.fields import IntegerField
from rest.requests.strict import StrictSerializer

MAX_DAYS = 366
DEFAULT_DAYS = 30


class ActivityParams(StrictSerializer):
    """The params of report.activity: a number of days that ends today, or a first and a last day (UTC)."""

    days = IntegerField(min_value=1, max_value=MAX_DAYS, required=False)
    first_day = serializers.DateField(required=False)
    last_day = serializers.DateField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs and attrs.keys() not in ({"days"}, {"first_day", "last_day"}):
            raise serializers.ValidationError("Give either days, or first_day and last_day.")
        if "last_day" in attrs and not 0 <= (attrs["last_day"] - attrs["first_day"]).days < MAX_DAYS:
            raise serializers.ValidationError(f"last_day must not be before first_day, nor {MAX_DAYS} days after it.")
        return attrs


@job("report.activity", params=ActivityParams, timeout=minutes(30), reads="replica")
def activity(
    run: Run, *, days: int = DEFAULT_DAYS, first_day: date | None = None, last_day: date | None = None
) -> dict[str, Any]:
    """Count jobs and messages per day, as a CSV file to download. Staff get all users', others their own."""
    last = last_day or timezone.now().date()
    span = Span(first_day or last - timedelta(days=days - 1), last)
    owner = visible_owner(run.user_id)
    counts: Counts = Counter()
    for done, figure in enumerate(FIGURES):
        run.progress(100 * done / len(FIGURES), f"counting {figure.what} by {figure.moment}")
        counts += figure.counted(span, owner)
    counts += deleted_message_counts(span, owner)
    filename = f"activity-{span.first}-to-{span.last}.csv"
    with run.text_output(filename) as file:
        csv.writer(file).writerows([COLUMNS, *rows(span, counts)])
    return {"rows": len(list(span)), "filename": filename}


def visible_owner(user_id: int | None) -> dict[str, int]:
    """A filter: no restriction for staff and for the project's own jobs, else the user's own rows."""
    if user_id is None or User.objects.filter(pk=user_id, is_active=True, is_staff=True).exists():
        return {}
    return {"user": user_id}
