"""What happens to a mail, by the local part of its recipient: which events Mailgun reports, and when. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mail.simulator.http import RequestError

MINUTE = 60.0
GIVE_UP = 60 * MINUTE
"""The real Mailgun tries for 8 hours, too long to wait for even when scaled down."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event. `after`: seconds of Mailgun's time since the previous step; Config.time_scale shortens them."""

    event: str
    after: float = 0
    severity: str = ""
    reason: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    """The reply of the recipient's server."""
    description: str = ""
    """Mailgun's own explanation."""
    retry_seconds: int = 0
    delayed: bool = False
    url: str = ""

    @property
    def hard_bounce(self) -> bool:
        """True if Mailgun adds the address to its list of bounces."""
        return self.event == "failed" and self.severity == "permanent" and self.reason == "bounce"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`webhooks`: False if all of them get lost. `webhook_faults`: kinds of faults that hit them."""

    steps: tuple[Step, ...]
    webhooks: bool = True
    webhook_faults: frozenset[str] = frozenset()
    latency: float = 0
    """Additional seconds that the API takes to answer."""


def failed(severity: str, reason: str, code: int, enhanced: str, text: str, **more: object) -> Step:
    step = Step("failed", severity=severity, reason=reason, code=code, enhanced=enhanced, text=text)
    return replace(step, **more)  # type: ignore[arg-type]


DELIVERED = Step("delivered", code=250, text="OK")
LATER = replace(DELIVERED, after=10 * MINUTE)
COMPLAINED = Step("complained", after=1 * MINUTE)
OPENED = Step("opened", after=1 * MINUTE)
CLICKED = Step("clicked", after=1 * MINUTE, url="https://www.example.org/welcome")
UNSUBSCRIBED = Step("unsubscribed", after=1 * MINUTE)
REJECTED = Step("rejected", reason="Sandbox subdomains are for test purposes only. Please add your own domain.")

NO_SUCH_USER = "5.1.1 The email account that you tried to reach does not exist"
BOUNCED = failed("permanent", "bounce", 550, "5.1.1", NO_SUCH_USER)
USER_UNKNOWN = failed(
    "permanent", "generic", 554, "", "delivery error: dd This user doesn't have a yahoo.com account [0]"
)
SOFT_BOUNCE = failed("permanent", "bounce", 450, "4.2.1", "4.2.1 The user is receiving mail too quickly")
DELAYED_SOFT_BOUNCE = replace(
    failed("permanent", "generic", 447, "", "Message delivery delayed for too long"), after=5 * MINUTE, delayed=True
)
DELAYED_BOUNCE = replace(BOUNCED, after=5 * MINUTE, delayed=True)
BUSY = failed("temporary", "generic", 421, "4.3.2", "4.3.2 Service busy, try again later", retry_seconds=600)
GREYLISTED = failed("temporary", "greylisted", 450, "4.7.1", "4.7.1 Greylisted, come back later", retry_seconds=600)
SOON_FULL = failed("temporary", "generic", 452, "4.2.2", "4.2.2 The recipient's mailbox is full", retry_seconds=600)
FULL = failed("permanent", "bounce", 552, "5.2.2", "5.2.2 The recipient's mailbox is full", after=10 * MINUTE)
UNREACHABLE = failed(
    "temporary", "generic", 499, "", "", description="Unable to connect to MX servers", retry_seconds=600
)
TOO_OLD = failed("permanent", "old", 602, "", "Too old", description="Not delivering to too old message", after=GIVE_UP)
NO_MX = failed("temporary", "generic", 498, "", "No MX for the recipient's domain", retry_seconds=600)
NO_MX_AND_OLD = replace(NO_MX, reason="old", retry_seconds=0, after=GIVE_UP)
BLOCKED = failed(
    "permanent", "espblock", 550, "5.7.1", "5.7.1 Our system has detected that this message is likely spam"
)

SUPPRESSED = {
    "bounces": failed(
        "permanent", "suppress-bounce", 605, "", "", description="Not delivering to previously bounced address"
    ),
    "complaints": failed(
        "permanent",
        "suppress-complaint",
        607,
        "",
        "",
        description="Not delivering to a user who marked your messages as spam",
    ),
    "unsubscribes": failed(
        "permanent", "suppress-unsubscribe", 606, "", "", description="Not delivering to unsubscribed address"
    ),
}
"""The only step of a mail to an address on one of Mailgun's own lists."""

DEFAULT = Outcome((DELIVERED,))

OUTCOMES: Mapping[str, Outcome] = {
    "bounce": Outcome((BOUNCED,)),
    "defer": Outcome((BUSY, LATER)),
    "greylist": Outcome((GREYLISTED, LATER)),
    "complain": Outcome((DELIVERED, COMPLAINED)),
    "reject": Outcome((REJECTED,)),
    "slow": Outcome((replace(DELIVERED, after=15 * MINUTE),), latency=2),
    "lost": Outcome((DELIVERED,), webhooks=False),
    "lost-bounce": Outcome((BOUNCED,), webhooks=False),
    "vanish": Outcome(()),
    "open": Outcome((DELIVERED, OPENED)),
    "click": Outcome((DELIVERED, OPENED, CLICKED)),
    "unsubscribe": Outcome((DELIVERED, UNSUBSCRIBED)),
    "delayed-bounce": Outcome((DELIVERED, DELAYED_BOUNCE)),
    "delayed-soft-bounce": Outcome((DELIVERED, DELAYED_SOFT_BOUNCE)),
    "soft-bounce": Outcome((SOFT_BOUNCE,)),
    "user-unknown": Outcome((USER_UNKNOWN,)),
    "mailbox-full": Outcome((SOON_FULL, FULL)),
    "old": Outcome((UNREACHABLE, TOO_OLD)),
    "exhausted": Outcome((UNREACHABLE, TOO_OLD)),
    "no-mx": Outcome((NO_MX, NO_MX_AND_OLD)),
    "espblock": Outcome((BLOCKED,)),
    "suppressed-bounce": Outcome((SUPPRESSED["bounces"],)),
    "suppressed-complaint": Outcome((SUPPRESSED["complaints"],)),
    "suppressed-unsubscribe": Outcome((SUPPRESSED["unsubscribes"],)),
    "early": Outcome((DELIVERED,), webhook_faults=frozenset({"early"})),
    "doubled": Outcome((DELIVERED,), webhook_faults=frozenset({"doubled"})),
    "reordered": Outcome((DELIVERED, COMPLAINED), webhook_faults=frozenset({"reordered"})),
}


STEPS_ON_REQUEST = {
    "delivered": DELIVERED,
    "deferred": BUSY,
    "bounced": BOUNCED,
    "delayed-bounce": DELAYED_BOUNCE,
    "complained": COMPLAINED,
    "opened": OPENED,
    "clicked": CLICKED,
    "unsubscribed": UNSUBSCRIBED,
}
"""Events that a person or a test can add to those of the outcome."""


def step_on_request(name: str) -> Step:
    """Raises RequestError(400) for an unknown name."""
    if name not in STEPS_ON_REQUEST:
        raise RequestError(400, f"event must be one of {', '.join(STEPS_ON_REQUEST)}.")
    return replace(STEPS_ON_REQUEST[name], after=0)


def outcome_of(local_part: str) -> Outcome:
    """By the word at the start, before a tag or a number: bounce, bounce+42, bounce-17, bounce17, bounce.a."""
    return OUTCOMES.get(leading_word(local_part, OUTCOMES), DEFAULT)


def leading_word(local_part: str, words: Mapping[str, object]) -> str:
    """The longest of these words at the start of the local part, unless a letter follows; else ""."""
    lowered = local_part.lower()
    found = [word for word in words if lowered.startswith(word) and _word_ends(word, lowered[len(word) :])]
    return max(found, key=len, default="")


def _word_ends(word: str, rest: str) -> bool:
    return re.match(r"$|[-+._]" if word[-1].isdigit() else r"$|[-+._0-9]", rest) is not None
