"""Filters of the monitor's templates: durations, times, sizes, badges."""

import json
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.sealing import shown_params
from monitor.job_times import times

register = template.Library()

NOTHING = "-"
"""Shown where there is no value."""

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


@register.filter
def duration(value: float | timedelta | str | None) -> str:
    """Seconds as people say them: 12 ms, 3.2 s, 4 m 5 s, 2 h 3 m, 3 d 4 h."""
    if value is None or value == "":  # a name that a template does not find is empty
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    parts: list[str] = []
    for size, unit in (*UNITS, (1.0, "s")):
        number, seconds = divmod(seconds, size)
        if number or parts:
            parts.append(f"{number:.0f} {unit}")
    return " ".join(parts[:2])


@register.filter
def ago(moment: datetime | str | None) -> SafeString | str:
    """How long ago, with the exact time as a title."""
    if not isinstance(moment, datetime):
        return NOTHING
    passed = (timezone.now() - moment).total_seconds()
    said = f"{_rough(passed)} ago" if passed >= 0 else f"in {_rough(-passed)}"
    exact = moment.astimezone(timezone.get_current_timezone()).isoformat(" ", "milliseconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, said)


def _rough(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@register.filter
def badge(status: str) -> SafeString:
    return format_html('<span class="lw-badge lw-{}">{}</span>', status, status)


@register.filter
def size(number: float | str | None) -> str:
    """Bytes as KiB, MiB, GiB."""
    if not isinstance(number, int | float):
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("the last unit fits any number")


@register.filter
def pretty(value: Any) -> str:
    """JSON for people, with secrets hidden (jobs/sealing.py)."""
    return json.dumps(shown_params(value), indent=2, ensure_ascii=False, default=str)


@register.filter
def short_id(pk: Any) -> str:
    """The random end of a UUIDv7: its beginning is the time, and alike for jobs of the same minute."""
    return str(pk)[-12:]


@register.filter
def percent(fraction: float | str | None) -> str:
    if not isinstance(fraction, int | float):
        return NOTHING
    return f"{100 * fraction:.1f} %" if fraction else "0 %"


@register.filter
def waited(job: Any) -> float | None:
    return times(job, timezone.now()).wait


@register.filter
def running_for(job: Any) -> float | None:
    return times(job, timezone.now()).run
