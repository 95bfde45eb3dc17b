"""A wrong clock: shifts time.time() and timezone.now() of a process; its other clocks stay right."""

import os
import time
from datetime import datetime, timedelta

from django.utils import timezone

VARIABLE = "CHAOS_CLOCK"
"""Seconds by which the clock is ahead; negative if it is behind."""
HOUR = 3600
CLOCKS = {0: "right", HOUR: "an hour ahead", -HOUR: "an hour behind"}


def shift() -> None:
    """Called by the settings, before any module keeps a reference to timezone.now."""
    seconds = float(os.environ.get(VARIABLE, 0))
    if not seconds:
        return
    real_time, real_now = time.time, timezone.now

    def shifted_time() -> float:
        return real_time() + seconds

    def shifted_now() -> datetime:
        return real_now() + timedelta(seconds=seconds)

    time.time, timezone.now = shifted_time, shifted_now
