"""Counts mail by minute: messages created, attempts at providers, and what providers reported."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Count

from jobs.models.queryset import first_id_at
from mail.models import Attempt, Event, Message
from monitor.models import MailFigures
from monitor.models.figures import EVER
from monitor.rollups.window import advance

CREATED, ATTEMPTED = "created", "attempted"


def count_mail() -> int:
    return advance("mail", _count, _first)


def _first(since: datetime) -> datetime | None:
    first: list[UUID] = []
    for model in (Message, Attempt, Event):
        first += (
            model._default_manager.filter(pk__gte=first_id_at(since)).order_by("pk").values_list("pk", flat=True)[:1]
        )
    # The first 48 bits of a UUIDv7 are milliseconds since 1970.
    return datetime.fromtimestamp((min(first).int >> 80) / 1000, UTC) if first else None


def _count(since: datetime, until: datetime) -> int:
    """All three tables are read by their primary keys, which sort by creation."""
    between = {"pk__gte": first_id_at(since), "pk__lt": first_id_at(until)}
    found: Counter[tuple[str, str]] = Counter()
    found["", CREATED] = Message.objects.filter(**between).count()
    for provider, number in _by(Attempt.objects.filter(**between), "provider"):
        found[provider, ATTEMPTED] += number
    for provider, kind, number in _by(Event.objects.filter(**between, disregarded=""), "provider", "type"):
        found[provider, kind[:50]] += number
    if found := +found:
        _store(since.replace(second=0, microsecond=0), found)
        _store(EVER, found)
    return found.total()


def _by(rows: Any, *columns: str) -> Any:
    return rows.order_by().values_list(*columns).annotate(number=Count("pk"))


def _store(minute: datetime, found: Counter[tuple[str, str]]) -> None:
    old = {(row.provider, row.outcome): row.count for row in MailFigures.objects.filter(minute=minute)}
    rows = [
        MailFigures(minute=minute, provider=provider, outcome=outcome, count=number + old.get((provider, outcome), 0))
        for (provider, outcome), number in found.items()
    ]
    MailFigures.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["minute", "provider", "outcome"], update_fields=["count"]
    )
