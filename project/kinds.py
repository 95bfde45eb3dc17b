"""The kinds of job that look at more than one app."""

import csv
from collections import Counter
from datetime import date, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework import serializers

from jobs.registry import job, minutes
from jobs.run import Run
from project.activity import COLUMNS, FIGURES, Counts, Span, of_deleted_messages, rows
from rest.strict import StrictSerializer

MOST_DAYS = 366
USUAL_DAYS = 30


class ActivityParams(StrictSerializer):
    """What report.activity takes: a number of days, of which today is the last, or the first and the last day (UTC)."""

    days = serializers.IntegerField(min_value=1, max_value=MOST_DAYS, required=False)
    first_day = serializers.DateField(required=False)
    last_day = serializers.DateField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs and attrs.keys() not in ({"days"}, {"first_day", "last_day"}):
            raise serializers.ValidationError("Give either days, or first_day and last_day.")
        if "last_day" in attrs and not 0 <= (attrs["last_day"] - attrs["first_day"]).days < MOST_DAYS:
            raise serializers.ValidationError(f"last_day must not be before first_day, nor {MOST_DAYS} days after it.")
        return attrs


@job("report.activity", params=ActivityParams, timeout=minutes(30), reads="replica")
def activity(
    run: Run, *, days: int = USUAL_DAYS, first_day: date | None = None, last_day: date | None = None
) -> dict[str, Any]:
    """Count jobs and messages per day, as a CSV file to download; staff get everybody's, all others their own."""
    last = last_day or timezone.now().date()
    span = Span(first_day or last - timedelta(days=days - 1), last)
    owner = owner_of_what_is_shown_to(run.user_id)
    counts: Counts = Counter()
    for done, figure in enumerate(FIGURES):
        run.progress(100 * done / len(FIGURES), f"counting {figure.what} by {figure.moment}")
        counts += figure.counted(span, owner)
    counts += of_deleted_messages(span, owner)
    filename = f"activity-{span.first}-to-{span.last}.csv"
    with run.text_output(filename) as file:
        csv.writer(file).writerows([COLUMNS, *rows(span, counts)])
    return {"rows": len(list(span)), "filename": filename}


def owner_of_what_is_shown_to(user_id: int | None) -> dict[str, int]:
    """As a filter: nobody in particular for staff and for the project's own jobs."""
    if user_id is None or User.objects.filter(pk=user_id, is_active=True, is_staff=True).exists():
        return {}
    return {"user": user_id}
