"""What mail has done now and then."""

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
from mail.providers import breakers
from mail.providers.mailgun_api import mailgun_accounts
from mail.suppressions import lifting

every(minutes=1 / 60)(release.release_all)
every(minutes=1)(guard.look_at_all)
every(minutes=5)(apply.lost_events)
every(minutes=5)(alerts.untold_alerts)
hourly(alerts.old_alerts)
hourly(breakers.old_blocks)
hourly(apply.used_tokens)
hourly(apply.disregarded_events)
hourly(retention.erase_expired_bodies)
hourly(retention.erase_expired_recipients)
hourly(retention.delete_expired_messages)
hourly(lifting.expired_suppressions)
hourly(lifting.old_lifts)


@every(minutes=1)
def due_messages() -> int:
    """What waits for its turn is not scheduled any more."""
    return Message.objects.queue_due()


@every(minutes=5)
def reconciliation() -> int:
    """A job, because providers are asked; none while the last one is at work.

    Finished messages count, too: complaints and delayed bounces come after the delivery.
    """
    if Message.objects.exists():
        with suppress(UniqueKeyTaken):
            submit("mail.reconcile", unique_key="mail.reconcile")
    return 0


@every(minutes=6 * 60)
def suppression_lists() -> int:
    """A job, because providers are asked."""
    if mailgun_accounts() and Message.objects.exists():
        with suppress(UniqueKeyTaken):
            submit("mail.compare_lists", unique_key="mail.compare_lists")
    return 0
