"""Alerts for operators: logged as errors, stored as rows, and sent to settings.MAIL_ALERT_TO by the job mail.alert."""

from contextlib import suppress
from datetime import timedelta

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
from mail.providers import connections
from mail.providers.accounts import accounts

log = structlog.get_logger(__name__)

KIND = "mail.alert"
SEND_EVERY = timedelta(minutes=10)
"""Between two notifications of one kind of alert; those that come meanwhile are sent together."""
SEND_WITHIN = timedelta(days=1)
"""An alert that could not be sent within this time (no recipient, no connection) stays in the admin only."""
KEEP_ALERTS = timedelta(days=30)
ONCE_EVERY = timedelta(hours=6)
SHOWN = 10
"""Alerts that a notification lists; of the others it gives the number."""


def alert(kind: str, detail: str, *, message: Message | None = None, provider: str = "") -> None:
    """Log and store an alert, and submit its notification. Calls no network; raises only database errors."""
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
        _submit_notification(kind)


def alert_once(kind: str, detail: str, *, provider: str) -> None:
    """As alert(), for a condition that lasts: at most once in ONCE_EVERY."""
    if not Alert.objects.filter(kind=kind, provider=provider, at__gt=timezone.now() - ONCE_EVERY).exists():
        alert(kind, detail, provider=provider)


def send_unsent(kind: str) -> int:
    """Send all unsent alerts of this kind to settings.MAIL_ALERT_TO; returns how many."""
    unsent = list(_unsent().filter(kind=kind).order_by("id"))
    if not unsent or not settings.MAIL_ALERT_TO:
        return 0
    if settings.MAIL_ALERT_TO.startswith(("http://", "https://")):
        _post(kind, unsent)
    else:
        _mail(kind, unsent)
    Alert.objects.filter(pk__in=[each.pk for each in unsent]).update(told_at=timezone.now())
    return len(unsent)


def submit_unsent() -> int:
    """Submit notifications of unsent alerts: they came during another notification, or theirs failed. Returns 0."""
    if settings.MAIL_ALERT_TO:
        for kind in _unsent().order_by("kind").values_list("kind", flat=True).distinct():
            _submit_notification(kind)
    return 0


def delete_old_alerts() -> int:
    return delete_in_batches(Alert.objects.filter(at__lt=timezone.now() - KEEP_ALERTS))


def _unsent() -> QuerySet[Alert]:
    return Alert.objects.filter(told_at=None, at__gt=timezone.now() - SEND_WITHIN)


def _submit_notification(kind: str) -> None:
    last = Alert.objects.filter(kind=kind).aggregate(last=Max("told_at"))["last"]
    with suppress(UniqueKeyTaken):
        submit(KIND, {"kind": kind}, unique_key=f"{KIND} {kind}", run_at=last and last + SEND_EVERY)


def _post(kind: str, unsent: list[Alert]) -> None:
    shown = [
        {
            "at": each.at.isoformat(),
            "provider": each.provider,
            "detail": each.detail,
            "message_id": str(each.message_id) if each.message_id else None,
        }
        for each in unsent[:SHOWN]
    ]
    body = {"alert": kind, "count": len(unsent), "alerts": shown}
    requests.post(settings.MAIL_ALERT_TO, json=body, timeout=settings.MAIL_TIMEOUT).raise_for_status()


def _mail(kind: str, unsent: list[Alert]) -> None:
    """By the first provider that accepts it. Not as a Message, whose failure would cause another alert."""
    lines = [f"{each.at:%Y-%m-%d %H:%M:%S} {each.provider} {each.detail} {each.message_id or ''}" for each in unsent]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    mail = EmailMessage(
        f"[Legwork] {kind}: {len(unsent)}",
        "\n".join([*lines[:SHOWN], *more]),
        settings.MAIL_FROM,
        [settings.MAIL_ALERT_TO],
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no automatic reply
    )
    errors = []
    for account in accounts():
        try:
            connections.connection_for(account).send(mail)
        except Exception as error:  # try the next provider, whatever it is
            connections.close(account.name)
            errors.append(type(error).__name__)
        else:
            return
    raise TransientError(f"no provider accepted the alert: {', '.join(errors)}")
