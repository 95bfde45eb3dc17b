"""Mail that does not go out."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from mail.models import Message
from mail.status import Status
from monitor.checkup.problem import Level, Problem
from monitor.dashboard.facts import Facts

UNSENT_FOR = timedelta(minutes=30)
COUNTED = 1000


def mail_problems(facts: Facts) -> Iterator[Problem]:
    now = timezone.now()
    rows = {provider.name: provider for provider in facts.providers}
    names = [account["name"] for account in settings.MAIL_PROVIDERS]
    opened = [rows[name] for name in names if name in rows and rows[name].opened_at]
    for provider in opened:
        yield Problem(
            Level.ERROR if len(opened) == len(names) else Level.WARNING,
            f"The circuit breaker of the mail provider {provider.name} is open: {provider.reason or 'no reason'}.",
            "It is tried again automatically, and at once if you close the breaker under Providers. If it refuses the"
            " account or the key, correct that (MAILGUN_API_KEY or MAIL_PROVIDERS) and restart the clusters.",
            "mail-provider-open",
        )
    due = Q(send_at=None, created_at__lt=now - UNSENT_FOR) | Q(send_at__lt=now - UNSENT_FOR)
    unsent = Message.objects.filter(due, status__in=[Status.QUEUED, Status.SENDING], awaits_release=False)
    # The condition names the partial index of unfinished messages.
    number = unsent.unfinished().order_by("created_at").values("pk")[:COUNTED].count()
    if number:
        more = " or more" if number == COUNTED else ""
        yield Problem(
            Level.WARNING,
            f"{number}{more} messages have been due for more than {UNSENT_FOR.seconds // 60} minutes and are not sent.",
            "Look at the timeline of one under Messages, and at Providers.",
            "mail-unsent",
        )
