"""Registers the maintenance tasks of mail."""

from contextlib import suppress

from jobs.cluster.maintenance import every, hourly
from jobs.errors import UniqueKeyTaken
from jobs.submit import submit
from mail import alerts
from mail.broadcasts import release
from mail.events import apply
from mail.models import Message
from mail.policy import guard
from mail.privacy import retention
from mail.providers import breakers, refused_senders
from mail.providers.mailgun_api import mailgun_accounts
from mail.suppressions import lifting

every(minutes=1 / 60)(release.release_all)
every(minutes=1)(guard.check_active_broadcasts)
every(minutes=5)(apply.apply_lost_events)
every(minutes=5)(alerts.submit_unsent)
hourly(alerts.delete_old_alerts)
hourly(breakers.delete_old_blocks)
hourly(refused_senders.delete_old)
hourly(apply.delete_used_tokens)
hourly(apply.delete_disregarded_events)
hourly(retention.erase_expired_bodies)
hourly(retention.erase_expired_recipients)
hourly(retention.delete_expired_messages)
hourly(lifting.lift_expired)
hourly(lifting.delete_old_lifts)


@every(minutes=1)
def due_messages() -> int:
    """Queue the scheduled messages whose send_at has come."""
    return Message.objects.queue_due()


@every(minutes=5)
def reconciliation() -> int:
    """Submit mail.reconcile, which calls providers, unless the last one is unfinished.

    Also if all messages have finished: complaints and delayed bounces come after a delivery.
    """
    if Message.objects.exists():
        with suppress(UniqueKeyTaken):
            submit("mail.reconcile", unique_key="mail.reconcile")
    return 0


@every(minutes=6 * 60)
def suppression_lists() -> int:
    """Submit mail.compare_lists, which calls providers."""
    if mailgun_accounts() and Message.objects.exists():
        with suppress(UniqueKeyTaken):
            submit("mail.compare_lists", unique_key="mail.compare_lists")
    return 0
