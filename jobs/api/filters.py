"""The filters of GET jobs/."""

from datetime import UTC, datetime

import django_filters
from django.core.exceptions import ValidationError

from jobs.models import Job
from jobs.models.states import Status


class TimeField(django_filters.fields.IsoDateTimeField):  # type: ignore[misc]
    """Converts to UTC and refuses what overflows there: 0001-01-01T00:00:00+14:00 would lie before year 1.

    An empty parameter is refused too; only an absent one does not filter.
    """

    def to_python(self, value: object) -> datetime | None:
        time: datetime | None = super().to_python(value)
        try:
            if value == "":
                raise ValueError
            return time and time.astimezone(UTC)
        except (OverflowError, ValueError):
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = TimeField


class JobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?status= (repeatable), ?kind=, ?created_after=, ?created_before= (RFC 3339)."""

    status = django_filters.MultipleChoiceFilter(choices=Status.choices)
    kind = django_filters.CharFilter()
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Job
        fields = ("status", "kind", "created_after", "created_before")
