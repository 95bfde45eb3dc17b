"""What GET jobs/ can be narrowed by."""

import django_filters

from jobs.models import Job
from jobs.states import Status


class JobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?status= (repeatable), ?kind=, ?created_after=, ?created_before= (RFC 3339)."""

    status = django_filters.MultipleChoiceFilter(choices=Status.choices)
    kind = django_filters.CharFilter()
    created_after = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Job
        fields = ("status", "kind", "created_after", "created_before")
