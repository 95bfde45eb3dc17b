"""`manage.py mail_rates`: shows today's sending rate of each provider and receiver, and how long bulk mail waits."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from mail.models import RateBucket
from mail.sending import pacing, rates

LINE = "{:<24} {:<12} {:<12} {}"


class Command(BaseCommand):
    help = "Show the sending rates of providers and receivers, the warm-up, and how long mail waits for them."

    def handle(self, *args: Any, **options: Any) -> None:
        buckets, now = RateBucket.objects.in_bulk(), timezone.now()
        self.stdout.write(LINE.format("provider or receiver", "rate", "waits (s)", "warm-up"))
        for name in pacing.limited_names():
            bucket = buckets.get(name)
            waits = max((bucket.planned_until - now).total_seconds(), 0) if bucket else 0
            first_day = settings.MAIL_WARM_UP.get(name)
            day = (now.date() - first_day).days + 1 if first_day else None
            warm_up = f"day {day} of {len(rates.WARM_UP)}" if day and day <= len(rates.WARM_UP) else ""
            self.stdout.write(LINE.format(name, str(pacing.rate_of(name) or "unlimited"), f"{waits:.0f}", warm_up))
