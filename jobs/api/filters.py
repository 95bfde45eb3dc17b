"""The filters of GET jobs/."""

import django_filters

from jobs.models import Job
from jobs.models.states import Status
from rest.requests.filters import ChoicesFilter, TextFilter, TimeFilter


class JobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?status= (repeatable), ?kind=, ?created_after=, ?created_before= (RFC 3339)."""

    status = ChoicesFilter(Status.choices)
    kind = TextFilter()
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Job
        fields = ("status", "kind", "created_after", "created_before")
