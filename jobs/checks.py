"""System checks of the job engine (`manage.py check`). An error keeps qcluster from starting."""

from django.conf import settings
from django.core.checks import CheckMessage, register

from jobs.django_q.settings import problems


@register
def q_cluster(**options: object) -> list[CheckMessage]:
    return problems(getattr(settings, "Q_CLUSTER", {}))
