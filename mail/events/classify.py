"""What a provider's event means, in our words. Anymail's own mapping is too coarse for decisions: see facts of each
provider's raw reasons, SMTP codes (RFC 5321) and enhanced status codes (RFC 3463). Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import TextChoices

from mail.addresses.normalize import mask_address
from mail.events import classify_smtp
from mail.failure import Failure, FailureClass
from mail.status import Status

DETAIL_LENGTH = 500
ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")
SMTP_CODE = re.compile(r"\D{0,40}?(?<![\w.])([245][0-5][0-9])(?=[\s-])")
ENHANCED = re.compile(r"(?<![\w.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\w)")


class News(TextChoices):
    """The kinds of event that change something; a provider may tell others, which are kept under their own name."""

    ACCEPTED = "accepted"  # the provider has it
    DEFERRED = "deferred"  # not yet; the provider tries again
    DELIVERED = "delivered"  # the recipient's server has it
    BOUNCED = "bounced"  # the recipient's server does not take it
    REJECTED = "rejected"  # the provider did not try: it does not send it, or keeps the address on a list of its own
    COMPLAINED = "complained"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more bulk mail
    OPENED = "opened"
    CLICKED = "clicked"


STATUS: Mapping[str, Status] = {
    News.ACCEPTED: Status.SENT,
    News.DEFERRED: Status.DEFERRED,
    News.DELIVERED: Status.DELIVERED,
    News.BOUNCED: Status.BOUNCED,
    News.REJECTED: Status.REJECTED,
    News.COMPLAINED: Status.COMPLAINED,
}
"""What a message is from then on, unless something weightier is known."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """news: one of News, or the provider's own word for what we do not know. failure: what policy decides on."""

    news: str
    failure: Failure | None = None
    detail: str = ""


def plainly(*words: object) -> str:
    """The first of these that says something, for people: on one line, bounded, without anybody's address."""
    said = next((word for word in words if isinstance(word, str) and word.strip()), "")
    return ADDRESS.sub(lambda found: mask_address(found[0]), " ".join(said.split()))[:DETAIL_LENGTH]


def failed(news: News, kind: FailureClass, detail: str) -> Meaning:
    return Meaning(news, Failure(kind, detail or kind.label.lower()), detail)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a recipient's server said. code: RFC 5321's three digits, or Mailgun's own; 0 when it is not known.

    enhanced: (class, subject, detail) of RFC 3463, or None. words: all of it, as text.
    """

    code: int = 0
    enhanced: tuple[int, int, int] | None = None
    words: str = ""

    @classmethod
    def read(cls, code: object, *texts: object) -> "Reply":
        """From a provider's code, which may be an enhanced one in legacy events, and from texts that may hold one."""
        number = int(str(code)) if re.fullmatch(r"[0-9]{3}", str(code)) else 0
        words = [str(text) for text in (code, *texts) if isinstance(text, str)]
        found = next((match for match in map(ENHANCED.search, words) if match), None)
        number = number or _leading_code(words)
        return cls(number, (int(found[1]), int(found[2]), int(found[3])) if found else None, " ".join(words))

    @property
    def temporary(self) -> bool:
        """Class 4 of either code: whatever else it says, the address may take mail another time."""
        return 400 <= self.code < 500 or (self.enhanced is not None and self.enhanced[0] == 4)

    @property
    def permanent(self) -> bool:
        return not self.temporary and (self.enhanced[0] == 5 if self.enhanced else self.code >= 500)

    def failure(self) -> FailureClass | None:
        """What it says of itself about a failure that is final; None when that has to be told from elsewhere.

        A class 4 reply never is a hard bounce. Of a class 5 reply known sentences weigh more than codes, which
        servers use loosely; but of sentences about blocks a code that names the mailbox is believed first.
        """
        told = classify_smtp.said(self.words)
        if self.temporary:
            full = FailureClass.MAILBOX_FULL
            return full if full in (told, self._of_enhanced()) else FailureClass.SOFT_BOUNCE
        if classify_smtp.blames_sender(self.words):
            return FailureClass.BLOCKED
        if told and told != FailureClass.BLOCKED:
            return told
        if self.enhanced:
            return self._of_enhanced() or told
        return told or BY_SMTP_CODE.get(self.code)

    def _of_enhanced(self) -> FailureClass | None:
        _, subject, detail = self.enhanced or (0, 0, 0)
        if kind := BY_ENHANCED_CODE.get((subject, detail)):
            return kind
        return BY_ENHANCED_SUBJECT.get(subject) if self.permanent else None


def _leading_code(words: list[str]) -> int:
    """The three digits with which a reply begins, after whatever the provider has put before it; 0 for none."""
    found = next((match for match in map(SMTP_CODE.match, words) if match), None)
    return int(found[1]) if found else 0


BY_ENHANCED_CODE = {
    (1, 7): FailureClass.BLOCKED,  # it is our address that is not liked: "bad sender's mailbox", "bad sender's system"
    (1, 8): FailureClass.BLOCKED,
    (2, 1): FailureClass.HARD_BOUNCE,  # "mailbox disabled"
    (2, 2): FailureClass.MAILBOX_FULL,
    (2, 3): FailureClass.INVALID,  # longer than the mailbox, or the system, takes
    (3, 4): FailureClass.INVALID,
}

BY_ENHANCED_SUBJECT = {1: FailureClass.HARD_BOUNCE, 7: FailureClass.BLOCKED}

BY_SMTP_CODE = {
    550: FailureClass.HARD_BOUNCE,
    551: FailureClass.HARD_BOUNCE,
    552: FailureClass.MAILBOX_FULL,
    553: FailureClass.HARD_BOUNCE,
}
