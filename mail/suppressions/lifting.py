"""Lifting a suppression, here and on the providers' own lists: the job mail.lift, and the chore for expired ones."""

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
LISTS = {
    Reason.BOUNCE: "bounces",
    Reason.MAILBOX_FULL: "bounces",
    Reason.SOFT_BOUNCES: "bounces",
    Reason.COMPLAINT: "complaints",
    Reason.UNSUBSCRIBE: "unsubscribes",
}
"""Mailgun's list that holds addresses for this reason; what an operator added by hand is on none."""
KEPT = timedelta(days=90)
"""How long a lift that is done is remembered, for the comparison with the providers' lists."""


def lift(of_address: SuppressionQuerySet) -> int:
    """Lift what is shown of one address, and all else that is no wish of the recipient; returns how many."""
    with transaction.atomic():
        return lift_exactly(of_address.select_for_update().liftable())


def lift_exactly(suppressions: Iterable[Suppression]) -> int:
    """Delete these here, and submit the jobs that lift them at the providers; returns how many."""
    gone = list(suppressions)
    with transaction.atomic():
        lifts = [
            Lift(digest=each.digest, address=each.address, reason=each.reason)
            for each in gone
            if each.reason in LISTS and each.address
        ]
        Suppression.objects.filter(pk__in=[each.pk for each in gone]).delete()
        Lift.objects.bulk_create(lifts)
        if lifts and mailgun_accounts():
            submit_many(KIND, [{"lift": each.pk} for each in lifts])
    return len(gone)


def lift_at_providers(lift_id: int) -> int:
    """Take the address off the list of each Mailgun account and domain; returns from how many it was taken.

    Raises TransientError when one did not answer, PermanentError when the key of one may not do this.
    """
    found = Lift.objects.filter(pk=lift_id, done_at=None).exclude(address="").first()
    if found is None:
        return 0
    removed, name = 0, LISTS[Reason(found.reason)]
    for account in mailgun_accounts():
        try:
            with MailgunApi(account) as api:
                removed += sum(api.delete(domain, name, found.address) for domain in account.domains)
        except Denied:
            alerts.alert_once("suppressions_not_changeable", DENIED, provider=account.name)
            raise PermanentError(DENIED) from None
        except NoAnswer as error:
            raise TransientError(f"{account.name} did not lift it: {error}") from None
    Lift.objects.filter(pk=found.pk).update(done_at=Now())
    log.info("suppression_lifted_at_providers", address=mask_address(found.address), lists=removed)
    return removed


DENIED = "its API key may not change suppressions: a lifted address stays on the provider's list; use a full key"


def lift_under_way(address: str, reason: str) -> bool:
    """Whether a provider may still have the address on its list although it was lifted here."""
    reasons = [other for other, name in LISTS.items() if name == LISTS.get(Reason(reason))]
    return Lift.objects.filter(digest=address_digest(address), reason__in=reasons, done_at=None).exists()


def expired_suppressions() -> int:
    """Lift what has expired: a provider's own list has no expiry, and would refuse the address for good."""
    lifted = 0
    while batch := list(Suppression.objects.filter(expires_at__lte=timezone.now())[:BATCH]):
        lifted += lift_exactly(batch)
    return lifted


def old_lifts() -> int:
    return delete_in_batches(Lift.objects.filter(lifted_at__lt=timezone.now() - KEPT))
