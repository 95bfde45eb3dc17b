"""What mail has done now and then."""

from contextlib import suppress

from jobs.errors import UniqueKeyTaken
from jobs.housekeeping import every, hourly
from jobs.submit import submit
from mail import alerts, breakers, effects, guard, release, retention
from mail.models import Message

every(minutes=1 / 60)(release.next_portions)
every(minutes=1)(guard.look_at_all)
every(minutes=5)(effects.lost_events)
every(minutes=5)(alerts.untold_alerts)
hourly(alerts.old_alerts)
hourly(breakers.old_blocks)
hourly(effects.used_tokens)
hourly(effects.disregarded_events)
hourly(retention.expired_bodies)
hourly(retention.expired_recipients)


@every(minutes=1)
def due_messages() -> int:
    """What waits for its turn is not scheduled any more."""
    return Message.objects.queue_due()


@every(minutes=5)
def reconciliation() -> int:
    """A job, because providers are asked; none while the last one is at work."""
    if Message.objects.unfinished().exists():
        with suppress(UniqueKeyTaken):
            submit("mail.reconcile", unique_key="mail.reconcile")
    return 0
