"""Classes of failures: what an error answer or event means, for the policy to decide on. And the outcomes of calls."""

from dataclasses import dataclass

from django.db.models import TextChoices


class FailureClass(TextChoices):
    INVALID = "invalid"  # no provider can send this message to this address
    HARD_BOUNCE = "hard_bounce"  # the address does not exist
    SOFT_BOUNCE = "soft_bounce"  # the recipient's server did not accept it for as long as the provider tried
    MAILBOX_FULL = "mailbox_full"
    COMPLAINT = "complaint"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more bulk mail
    BLOCKED = "blocked"  # the recipient's server refuses this content, or mail from us
    LISTED_BOUNCE = "listed_bounce"  # not sent: on the provider's or our list, because it bounced before
    LISTED_COMPLAINT = "listed_complaint"  # not sent: on the provider's or our list, because of a complaint
    LISTED_UNSUBSCRIBE = "listed_unsubscribe"  # not sent: on the provider's or our list, as unsubscribed
    LISTED_UNKNOWN = "listed_unknown"  # not sent: on the provider's list, which gives no reason, or put on ours by hand
    NOT_PERMITTED = "not_permitted"  # this provider may not send to this recipient (a sandbox); others may
    REJECTED = "rejected"  # the provider accepted it and then did not send it
    THROTTLED = "throttled"  # the provider asks for a pause
    ACCOUNT = "account"  # the provider denies us access, or the account may not send
    SENDER = "sender"  # the provider does not let this sender send; others may
    CONFIGURATION = "configuration"  # the answer is not that of the provider's API, or our settings are wrong
    UNREACHABLE = "unreachable"  # the provider did not get the request
    AMBIGUOUS = "ambiguous"  # it is unknown whether the provider accepted it


class Outcome(TextChoices):
    """The outcome of a call to a provider."""

    ACCEPTED = "accepted"  # the provider has the message
    TRANSIENT = "transient"  # it does not; another try may succeed
    PERMANENT = "permanent"  # it does not; another try with this provider would fail too
    AMBIGUOUS = "ambiguous"  # unknown: the provider has to be asked


OUTCOME_OF = {
    FailureClass.INVALID: Outcome.PERMANENT,
    FailureClass.ACCOUNT: Outcome.PERMANENT,
    FailureClass.SENDER: Outcome.PERMANENT,
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
"""For the classes that a call can fail with; the others occur only in events."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure class, and a sentence for people that contains no address and no secret."""

    kind: FailureClass
    detail: str

    def as_json(self) -> dict[str, str]:
        """As the API shows it: {"class", "detail"}."""
        return {"class": str(self.kind), "detail": self.detail}
