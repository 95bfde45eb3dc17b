"""What follows from each class of failure: docs/mail-failures.md tells it, and
tests/mail/policy/test_decision_provider_cases.py compares each case with the database.
"""

from dataclasses import dataclass

IMPORTANCES = ("critical", "normal", "bulk")
NO_SUPPRESSION = "none"
AGAIN, ANOTHER = "sent again in a quarter of an hour", "sent at once by another provider"
PAUSED, CLOSED = "waits for the end of the pause", "waits until the provider works again"
SENDER_CLOSED = "waits until the provider takes this sender's mail"
UNCERTAIN = "waits until it is certain"


@dataclass(frozen=True)
class Follows:
    """meaning: its text in the page. suppression, provider: what is done about the address, and about the provider.

    cells: for critical, normal and bulk mail, if another provider could take it. alone: if there is no other one.
    {status} stands for `status`, which some payloads change.
    """

    meaning: str
    cells: tuple[str, str, str]
    suppression: str = NO_SUPPRESSION
    provider: str = ""
    alone: tuple[str, str, str] | None = None
    status: str = ""

    def cell(self, importance: str, status: str = "", *, alone: bool = False) -> str:
        cells = self.alone if alone and self.alone else self.cells
        return cells[IMPORTANCES.index(importance)].format(status=status or self.status)


def alike(cell: str) -> tuple[str, str, str]:
    return cell, cell, cell


ENDS = alike("{status}")
ALARMING = ("{status}, alert", "{status}", "{status}")
ELSEWHERE = (f"{ANOTHER}, alert", "{status}", "{status}")
UNSUBSCRIBE = "unsubscribe: bulk mail, for good"

FOLLOWS = {
    "": Follows("no failure", ENDS, status="deferred"),
    "invalid": Follows("this message cannot be sent to this address", ALARMING, status="rejected"),
    "hard_bounce": Follows("the mailbox does not exist", ALARMING, "bounce: all mail, for good", status="bounced"),
    "soft_bounce": Follows(
        "not taken for as long as the provider tried",
        (ANOTHER, "{status}", "{status}"),
        "a strike",
        alone=(AGAIN, "{status}", "{status}"),
        status="bounced",
    ),
    "mailbox_full": Follows(
        "the mailbox is full", ALARMING, "mailbox_full: all mail, for 1 day; a strike", status="bounced"
    ),
    "blocked": Follows(
        "the server does not take mail like this, or from us",
        (f"{ANOTHER}, alert", "{status}, alert", "{status}, alert"),
        alone=alike("{status}, alert"),
        status="bounced",
    ),
    "complaint": Follows("the recipient called it spam", ENDS, "complaint: all mail, for good", status="complained"),
    "unsubscribed": Follows("the recipient wants no more bulk mail", ENDS, UNSUBSCRIBE, status="sent"),
    "listed_bounce": Follows(
        "never sent: on the provider's list of bounces", ALARMING, "bounce: all mail, for good", status="rejected"
    ),
    "listed_complaint": Follows(
        "never sent: on the provider's list of complaints", ALARMING, "complaint: all mail, for good", status="rejected"
    ),
    "listed_unsubscribe": Follows(
        "never sent: on the provider's list of unsubscriptions",
        ELSEWHERE,
        UNSUBSCRIBE,
        alone=ALARMING,
        status="rejected",
    ),
    "listed_unknown": Follows(
        "never sent: on a list of the provider's that gives no reason", ELSEWHERE, alone=ALARMING, status="rejected"
    ),
    "not_permitted": Follows(
        "this provider may not send to this recipient: a sandbox, a trial account",
        alike(f"{ANOTHER}, alert"),
        alone=alike("{status}, alert"),
        status="rejected",
    ),
    "rejected": Follows("the provider would not send it", ALARMING, status="rejected"),
    "throttled": Follows(
        "the provider asks for a pause", (ANOTHER, ANOTHER, PAUSED), provider="pause", alone=alike(PAUSED)
    ),
    "account": Follows(
        "the provider does not let us send",
        alike(f"{ANOTHER}, alert"),
        provider="its breaker opens",
        alone=alike(f"{CLOSED}, alert"),
    ),
    "sender": Follows(
        "the provider does not let this sender send",
        alike(f"{ANOTHER}, alert"),
        provider="gets no mail of this sender for a while",
        alone=alike(f"{SENDER_CLOSED}, alert"),
    ),
    "configuration": Follows(
        "what answers does not speak the provider's protocol",
        alike(f"{ANOTHER}, alert"),
        provider="its breaker opens",
        alone=alike(f"{CLOSED}, alert"),
    ),
    "unreachable": Follows(
        "the provider did not get it",
        alike(ANOTHER),
        provider="its breaker counts",
        alone=alike(CLOSED),
    ),
    "ambiguous": Follows("the provider may have it, or not", alike(UNCERTAIN), provider="its breaker counts"),
}
"""By class of failure; the empty class is that of events which are no failure."""


def expected(kind: str, importance: str, status: str = "", *, alone: bool = False) -> tuple[str, str]:
    """What happens with a message of this class, and with its address."""
    follows = FOLLOWS[kind]
    return follows.cell(importance, status, alone=alone), follows.suppression
