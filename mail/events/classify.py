"""The types of event, and what the classifiers of each provider's events return. Pure.

Anymail's own mapping is too coarse for decisions: classify_mailgun and classify_anymail read the provider's raw reasons
and the receiving server's reply (mail.smtp) as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import TextChoices

from mail.addresses.normalize import mask_address
from mail.failure import Failure, FailureClass
from mail.status import Status

DETAIL_LENGTH = 500
ADDRESS = re.compile(r"(?<![^\s<>()\[\],;:\"'])[^\s<>()\[\],;:\"'@]*+@[^\s<>()\[\],;:\"']++")
"""Matches only from the start of a word, without backtracking: a long text without any @ is read once."""


class EventType(TextChoices):
    """The events that change a message. Providers report others too, which are stored under the provider's name."""

    ACCEPTED = "accepted"  # the provider has the message
    DEFERRED = "deferred"  # the provider will try again
    DELIVERED = "delivered"  # the recipient's server has the message
    BOUNCED = "bounced"  # the recipient's server refused it
    REJECTED = "rejected"  # the provider did not try: it refuses the message, or its own list has the address
    COMPLAINED = "complained"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more bulk mail
    OPENED = "opened"
    CLICKED = "clicked"


STATUS: Mapping[str, Status] = {
    EventType.ACCEPTED: Status.SENT,
    EventType.DEFERRED: Status.DEFERRED,
    EventType.DELIVERED: Status.DELIVERED,
    EventType.BOUNCED: Status.BOUNCED,
    EventType.REJECTED: Status.REJECTED,
    EventType.COMPLAINED: Status.COMPLAINED,
}
"""The message's status after an event, unless its present status has precedence."""


@dataclass(frozen=True, slots=True)
class Classification:
    """type: an EventType, or the provider's own word if it is none of them. failure: the policy's input, if any."""

    type: str
    failure: Failure | None = None
    detail: str = ""


def failed(event_type: EventType, kind: FailureClass, detail: str) -> Classification:
    return Classification(event_type, Failure(kind, detail or kind.label.lower()), detail)


def one_line(*texts: object) -> str:
    """The first text that is not blank, on one line, at most DETAIL_LENGTH characters, with addresses masked."""
    text = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    return ADDRESS.sub(lambda found: mask_address(found[0]), " ".join(text.split()))[:DETAIL_LENGTH]


def mapping(value: object) -> Mapping[str, Any]:
    """A part of an event that should be an object; empty if it is not."""
    return value if isinstance(value, Mapping) else {}
