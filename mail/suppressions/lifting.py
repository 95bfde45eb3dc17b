"""Lifts suppressions, here and, by the job mail.lift, on the providers' own lists."""

from collections.abc import Iterable
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import PermanentError, TransientError
from jobs.models.queryset import BATCH, delete_in_batches
from jobs.submit import submit_many
from mail import alerts
from mail.addresses.normalize import address_digest, mask_address
from mail.models import Lift, Suppression
from mail.models.queryset import SuppressionQuerySet
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer, mailgun_accounts
from mail.reasons import Reason

log = structlog.get_logger(__name__)

KIND = "mail.lift"
LIST_OF_REASON = {
    Reason.BOUNCE: "bounces",
    Reason.MAILBOX_FULL: "bounces",
    Reason.SOFT_BOUNCES: "bounces",
    Reason.COMPLAINT: "complaints",
    Reason.UNSUBSCRIBE: "unsubscribes",
}
"""Mailgun's list for each reason; an address that an operator added by hand is on none."""
KEEP_LIFTS = timedelta(days=90)
"""For the comparison with the providers' lists."""
DENIED = "its API key may not change suppressions: a lifted address stays on the provider's list; use a full key"


def lift(of_address: SuppressionQuerySet) -> int:
    """Lift one address's strongest suppression and all others but the recipient's own wishes; returns how many."""
    with transaction.atomic():
        return lift_all(of_address.select_for_update().liftable())


def lift_all(suppressions: Iterable[Suppression]) -> int:
    """Delete these here, and submit jobs that lift them at the providers; returns how many.

    A forgotten person's address is unknown: the comparison with the providers' lists finds it there, by its digest.
    """
    rows = list(suppressions)
    with transaction.atomic():
        lifts = [
            Lift(digest=each.digest, address=each.address, reason=each.reason)
            for each in rows
            if each.reason in LIST_OF_REASON
        ]
        Suppression.objects.filter(pk__in=[each.pk for each in rows]).delete()
        Lift.objects.bulk_create(lifts)
        known = [each for each in lifts if each.address]
        if known and mailgun_accounts():
            submit_many(KIND, [{"lift": each.pk} for each in known])
    return len(rows)


def lift_at_providers(lift_id: int) -> int:
    """Remove the address from the list of each Mailgun account and domain; returns from how many.

    Raises TransientError if an account did not answer, PermanentError if its API key may not do this.
    """
    pending = Lift.objects.filter(pk=lift_id, done_at=None).exclude(address="").first()
    if pending is None:
        return 0
    removed, name = 0, LIST_OF_REASON[Reason(pending.reason)]
    for account in mailgun_accounts():
        try:
            with MailgunApi(account) as api:
                removed += sum(api.delete(domain, name, pending.address) for domain in account.domains)
        except Denied:
            alerts.alert_once("suppressions_not_changeable", DENIED, provider=account.name)
            raise PermanentError(DENIED) from None
        except NoAnswer as error:
            raise TransientError(f"{account.name} did not lift it: {error}") from None
    Lift.objects.filter(pk=pending.pk).update(done_at=Now())
    log.info("suppression_lifted_at_providers", address=mask_address(pending.address), lists=removed)
    return removed


def is_lift_pending(address: str, reason: str) -> bool:
    """True if the address was lifted here, and a provider's list may still have it."""
    reasons = [other for other, name in LIST_OF_REASON.items() if name == LIST_OF_REASON.get(Reason(reason))]
    return Lift.objects.filter(digest=address_digest(address), reason__in=reasons, done_at=None).exists()


def lift_expired() -> int:
    """A provider's own list has no expiry: an expired suppression must be lifted there too. Returns how many."""
    lifted = 0
    while count := _lift_expired_batch():
        lifted += count
    return lifted


def _lift_expired_batch() -> int:
    """Rows locked by another transaction, which may prolong them, are left to the next run."""
    expired = Suppression.objects.filter(expires_at__lte=timezone.now())
    with transaction.atomic():
        return lift_all(expired.select_for_update(skip_locked=True)[:BATCH])


def delete_old_lifts() -> int:
    return delete_in_batches(Lift.objects.filter(lifted_at__lt=timezone.now() - KEEP_LIFTS))
