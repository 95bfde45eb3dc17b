"""What becomes of a mail, by the local part of its recipient: which events Mailgun reports, and when. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

MINUTE = 60.0
GIVE_UP = 60 * MINUTE
"""After which Mailgun stops trying: 8 hours in truth, but nobody wants to wait for that, however scaled down."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event. `after` is in seconds of Mailgun's time since the step before; the simulator runs faster."""

    event: str
    after: float = 0
    severity: str = ""
    reason: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    """What the recipient's server said."""
    description: str = ""
    """What Mailgun adds."""
    retry_seconds: int = 0
    delayed: bool = False
    url: str = ""

    @property
    def hard_bounce(self) -> bool:
        """After this one Mailgun sends nothing more to the address."""
        return self.event == "failed" and self.severity == "permanent" and self.reason == "bounce"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`told` is False if Mailgun's webhooks get lost; `quirks` are what happens to those that do not."""

    steps: tuple[Step, ...]
    told: bool = True
    quirks: frozenset[str] = frozenset()
    seconds: float = 0
    """How long the API takes to answer, beyond the usual."""


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
"""The one step of a mail to an address that stands on one of Mailgun's own lists."""

FINE = Outcome((DELIVERED,))

OUTCOMES: Mapping[str, Outcome] = {
    "bounce": Outcome((BOUNCED,)),
    "defer": Outcome((BUSY, LATER)),
    "greylist": Outcome((GREYLISTED, LATER)),
    "complain": Outcome((DELIVERED, COMPLAINED)),
    "reject": Outcome((REJECTED,)),
    "slow": Outcome((replace(DELIVERED, after=15 * MINUTE),), seconds=2),
    "lost": Outcome((DELIVERED,), told=False),
    "lost-bounce": Outcome((BOUNCED,), told=False),
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
    "early": Outcome((DELIVERED,), quirks=frozenset({"early"})),
    "doubled": Outcome((DELIVERED,), quirks=frozenset({"doubled"})),
    "reordered": Outcome((DELIVERED, COMPLAINED), quirks=frozenset({"reordered"})),
}


def outcome_of(local_part: str) -> Outcome:
    """What the local part says, in front of a tag or a number: bounce, bounce+42, bounce-17, bounce17, bounce.a."""
    return OUTCOMES.get(leading_word(local_part, OUTCOMES), FINE)


def leading_word(local_part: str, words: Mapping[str, object]) -> str:
    """The longest of the words that this local part starts with, if no other letter follows it; else ""."""
    lowered = local_part.lower()
    found = [word for word in words if lowered.startswith(word) and _ends(word, lowered[len(word) :])]
    return max(found, key=len, default="")


def _ends(word: str, rest: str) -> bool:
    return re.match(r"$|[-+._]" if word[-1].isdigit() else r"$|[-+._0-9]", rest) is not None
