"""What can go wrong with a message, by class: what answers and events come down to, and what policy decides on."""

from dataclasses import dataclass

from django.db.models import TextChoices


class FailureClass(TextChoices):
    INVALID = "invalid"  # this message cannot be sent to this address, by anybody
    HARD_BOUNCE = "hard_bounce"  # the address does not exist
    SOFT_BOUNCE = "soft_bounce"  # the recipient's server did not take it for as long as the provider tried
    MAILBOX_FULL = "mailbox_full"
    COMPLAINT = "complaint"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more bulk mail
    BLOCKED = "blocked"  # the recipient's server does not take mail like this, or from us
    LISTED_BOUNCE = "listed_bounce"  # never sent: the provider's list says that the address bounced before
    LISTED_COMPLAINT = "listed_complaint"  # never sent: the provider's list says that the recipient complained before
    LISTED_UNSUBSCRIBE = "listed_unsubscribe"  # never sent: the provider's list says that the recipient unsubscribed
    LISTED_UNKNOWN = "listed_unknown"  # never sent: the address is on the provider's list, for a reason it does not say
    NOT_PERMITTED = "not_permitted"  # this provider may not send to this recipient (a sandbox), others may
    REJECTED = "rejected"  # the provider accepted it and then would not send it
    THROTTLED = "throttled"  # the provider asks for a pause
    ACCOUNT = "account"  # the provider does not let us in
    CONFIGURATION = "configuration"  # what answers does not speak the provider's protocol
    UNREACHABLE = "unreachable"  # the provider did not get the request
    AMBIGUOUS = "ambiguous"  # the provider may have accepted it, or not


class Outcome(TextChoices):
    """What a call of a provider comes to."""

    ACCEPTED = "accepted"  # the provider has the message
    TRANSIENT = "transient"  # it has not; worth another try
    PERMANENT = "permanent"  # it has not; another try by the same provider would end the same
    AMBIGUOUS = "ambiguous"  # nobody knows: the provider has to be asked


OUTCOME_OF = {
    FailureClass.INVALID: Outcome.PERMANENT,
    FailureClass.ACCOUNT: Outcome.PERMANENT,
    FailureClass.CONFIGURATION: Outcome.PERMANENT,
    FailureClass.REJECTED: Outcome.PERMANENT,
    FailureClass.NOT_PERMITTED: Outcome.PERMANENT,
    FailureClass.LISTED_BOUNCE: Outcome.PERMANENT,
    FailureClass.LISTED_COMPLAINT: Outcome.PERMANENT,
    FailureClass.LISTED_UNSUBSCRIBE: Outcome.PERMANENT,
    FailureClass.LISTED_UNKNOWN: Outcome.PERMANENT,
    FailureClass.THROTTLED: Outcome.TRANSIENT,
    FailureClass.UNREACHABLE: Outcome.TRANSIENT,
    FailureClass.AMBIGUOUS: Outcome.AMBIGUOUS,
}
"""Of the classes that a provider's answer can have; the others are learnt from events."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it is told: its class and a sentence for people, with no address and no secret in it."""

    kind: FailureClass
    detail: str

    def as_json(self) -> dict[str, str]:
        """As the API shows it: {"class", "detail"}."""
        return {"class": str(self.kind), "detail": self.detail}
