"""What operators should know: in the log at error level, counted as rows, and told to settings.MAIL_ALERT_TO."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import requests
import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Max, QuerySet
from django.utils import timezone

from jobs.errors import TransientError, UniqueKeyTaken
from jobs.models.queryset import delete_in_batches
from jobs.submit import submit
from mail.addresses.normalize import mask_address
from mail.models import Alert, Message
from mail.providers import select
from mail.providers.accounts import accounts

log = structlog.get_logger(__name__)

TOLD_EVERY = timedelta(minutes=10)
"""At most so often is the same kind of alert told; what comes meanwhile is told together."""
NEWS_FOR = timedelta(days=1)
"""What was not told by then, because nobody was named or could be reached, is looked up in the admin if at all."""
KEPT = timedelta(days=30)
ONCE_EVERY = timedelta(hours=6)
SHOWN = 10
"""Alerts that are told one by one; the others are counted."""


def alert(kind: str, detail: str, *, message: Message | None = None, provider: str = "") -> None:
    """Let an operator know; it never waits for anybody and never raises what is no database's fault."""
    log.error(
        "mail_alert",
        alert=kind,
        detail=detail,
        provider=provider,
        message_id=str(message.pk) if message else None,
        address=mask_address(message.address) if message else None,
    )
    Alert.objects.create(kind=kind, detail=detail, message=message, provider=provider)
    if settings.MAIL_ALERT_TO:
        _tell_soon(kind)


def alert_once(kind: str, detail: str, *, provider: str) -> None:
    """As alert(), for something that lasts: not again within ONCE_EVERY."""
    if not Alert.objects.filter(kind=kind, provider=provider, at__gt=timezone.now() - ONCE_EVERY).exists():
        alert(kind, detail, provider=provider)


def tell(kind: str) -> int:
    """Tell settings.MAIL_ALERT_TO all alerts of this kind that it was not told yet; how many there were."""
    untold = list(_untold().filter(kind=kind).order_by("id"))
    if not untold or not settings.MAIL_ALERT_TO:
        return 0
    if settings.MAIL_ALERT_TO.startswith(("http://", "https://")):
        _post(kind, untold)
    else:
        _mail(kind, untold)
    Alert.objects.filter(pk__in=[found.pk for found in untold]).update(told_at=timezone.now())
    return len(untold)


def untold_alerts() -> int:
    """See to it that all are told: some come while others of their kind are, or could not be told; returns 0."""
    if settings.MAIL_ALERT_TO:
        for kind in _untold().order_by("kind").values_list("kind", flat=True).distinct():
            _tell_soon(kind)
    return 0


def old_alerts() -> int:
    """Forget what has long been history; returns how many."""
    return delete_in_batches(Alert.objects.filter(at__lt=timezone.now() - KEPT))


def _untold() -> QuerySet[Alert]:
    return Alert.objects.filter(told_at=None, at__gt=timezone.now() - NEWS_FOR)


def _tell_soon(kind: str) -> None:
    last = Alert.objects.filter(kind=kind).aggregate(last=Max("told_at"))["last"]
    with suppress(UniqueKeyTaken):
        submit("mail.alert", {"kind": kind}, unique_key=f"mail.alert {kind}", run_at=last and last + TOLD_EVERY)


def _post(kind: str, untold: list[Alert]) -> None:
    body = {"alert": kind, "count": len(untold), "alerts": [_as_json(found) for found in untold[:SHOWN]]}
    requests.post(settings.MAIL_ALERT_TO, json=body, timeout=settings.MAIL_TIMEOUT).raise_for_status()


def _mail(kind: str, untold: list[Alert]) -> None:
    """By the first provider that takes it. Not as a Message: an alert about an alert would have no end."""
    lines = [
        f"{found.at:%Y-%m-%d %H:%M:%S} {found.provider} {found.detail} {found.message_id or ''}" for found in untold
    ]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    mail = EmailMessage(
        f"[Legwork] {kind}: {len(untold)}",
        "\n".join([*lines[:SHOWN], *more]),
        settings.MAIL_FROM,
        [settings.MAIL_ALERT_TO],
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no vacation message answers it
    )
    errors = []
    for found in accounts():
        try:
            select.line_to(found).send(mail)
        except Exception as error:  # whatever it is, the next provider may do better
            select.hang_up(found.name)
            errors.append(type(error).__name__)
        else:
            return
    raise TransientError(f"no provider took the alert: {', '.join(errors)}")


def _as_json(found: Alert) -> dict[str, Any]:
    return {
        "at": found.at.isoformat(),
        "provider": found.provider,
        "detail": found.detail,
        "message_id": str(found.message_id) if found.message_id else None,
    }
