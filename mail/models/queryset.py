"""Querysets of messages, suppressions and strikes."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, models, transaction
from django.db.models import Case, Count, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Now

from mail.addresses.normalize import address_digest, normalize_address
from mail.importance import Importance
from mail.models import sql
from mail.models.attempt import PROVIDER_ID_LENGTH, Attempt
from mail.reasons import WISHES, Scope
from mail.status import CANCELLABLE, PENDING, TERMINAL, Status
from rest.json_value import clean_text
from rest.log_batch import info_each

log = structlog.get_logger(__name__)


class MessageQuerySet(models.QuerySet[Any]):
    def pending(self) -> Self:
        return self.filter(status__in=PENDING)

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def queue_due(self) -> int:
        """Queue the scheduled messages whose send_at has come; returns how many."""
        return self.filter(status=Status.SCHEDULED, send_at__lte=Now()).update(status=Status.QUEUED)

    def leave_unclear(self) -> int:
        """Set them to sending: a provider may have them, and must be asked before they are sent or cancelled."""
        return self.filter(status__in=CANCELLABLE).update(status=Status.SENDING)

    def accept(self, accepted: Sequence[tuple[Attempt, str]]) -> dict[UUID, str]:
        """Record that providers have accepted these attempts, each of another message, and their ids of the mails.

        Returns the messages' statuses. No effect on those that were recorded before.
        """
        # One id that the column refuses must not fail the others; its mail is known by the attempt's own id too.
        accepted = [(attempt, clean_text(given)[:PROVIDER_ID_LENGTH]) for attempt, given in accepted]
        if connection.vendor == "postgresql":
            changed = sql.accept(accepted)
        else:
            for attempt, provider_message_id in accepted:
                with suppress(ObjectDoesNotExist):  # the message was deleted meanwhile
                    attempt.message.accept_attempt(attempt, provider_message_id)
            changed = {}
        unchanged = [attempt.message_id for attempt, _ in accepted if attempt.message_id not in changed]
        statuses = changed | dict(self.filter(pk__in=unchanged).values_list("pk", "status"))
        lines = [
            {
                "provider": attempt.provider,
                "message_id": str(attempt.message_id),
                "status": statuses.get(attempt.message_id),
            }
            for attempt, _ in accepted
        ]
        info_each(log, "message_accepted", lines)
        return statuses

    def by_status(self) -> dict[str, int]:
        """The number of messages of each status that occurs."""
        return dict(self.order_by().values_list("status").annotate(count=Count("pk")))

    def tagged(self, tag: str) -> Self:
        """Those with this tag; a message has three tags at most."""
        return self.filter(Q(tags__0=tag) | Q(tags__1=tag) | Q(tags__2=tag))


class SuppressionQuerySet(models.QuerySet[Any]):
    def in_force(self) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))

    def strongest_first(self) -> Self:
        """By scope, then by duration; of equals, a recipient's own wish comes last."""
        wish = Case(When(reason__in=WISHES, then=Value(1)), default=Value(0))
        return self.order_by("scope", F("expires_at").desc(nulls_first=True), wish, "pk")

    def shown(self) -> Self:
        """The strongest one in force of each address."""
        of_address = self.model._default_manager.in_force().filter(digest=OuterRef("digest"))
        return self.in_force().filter(pk=Subquery(of_address.strongest_first().values("pk")[:1]))

    def against(self, address: str, importance: str) -> Any | None:
        """The strongest suppression of this address that forbids mail of this importance, or None."""
        return self._forbidding(importance).filter(digest=address_digest(address)).strongest_first().first()

    def forbidden_among(self, many: Iterable[str], importance: str) -> set[str]:
        """Those of these addresses that may not get mail of this importance."""
        by_digest = {address_digest(address): address for address in many}
        found = self._forbidding(importance).filter(digest__in=by_digest).values_list("digest", flat=True)
        return {by_digest[digest] for digest in found}

    def suppress(self, address: str, reason: str, scope: str, expires_at: datetime | None, *, source: str) -> Any:
        """Suppress this address. If it already is, for this reason and scope, the longer duration is kept."""
        fact = {"digest": address_digest(address), "scope": scope, "reason": reason}
        return self.suppress_fact(fact, address=normalize_address(address), source=source, expires_at=expires_at)

    def suppress_fact(self, fact: dict[str, str], **values: Any) -> Any:
        """As suppress(), if the address itself may be unknown. fact: digest, scope and reason, which are unique."""
        with transaction.atomic():
            _, created = self.get_or_create(**fact, defaults=values)
            kept = self.select_for_update().get(**fact)
            if not created and kept.ends_before(values["expires_at"]):
                self.filter(pk=kept.pk).update(**values, created_at=Now())
                kept.refresh_from_db()
        return kept

    def liftable(self) -> list[Any]:
        """Of one address's suppressions: the strongest, which is shown, and all that are not the recipient's wish."""
        strongest, *others = list(self.strongest_first()) or [None]
        return [strongest, *(each for each in others if each.reason not in WISHES)] if strongest else []

    def _forbidding(self, importance: str) -> Self:
        found = self.in_force()
        return found if importance == Importance.BULK else found.exclude(scope=Scope.BULK)


class StrikeQuerySet(models.QuerySet[Any]):
    def of(self, address: str, kind: str) -> Self:
        """The address's failures of this class in a row; a delivery deletes them."""
        return self.filter(digest=address_digest(address), kind=kind)
