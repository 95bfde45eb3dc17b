"""Where each message has to end, as docs/mail-failures.md says: read from the page, and not asked of the code. Pure.

What is written here is the outside world: which class of failure each outcome of the simulator is, and which of
the provider's lists it leads to.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tests.mail_chaos.plan import FINE, ONCE, Planned

PAGE = Path(__file__).parents[2] / "docs" / "mail-failures.md"
COLUMNS = ("class", "meaning", "suppression", "provider", "critical", "normal", "bulk")
ENDS = ("rejected", "bounced", "complained")

Fact = tuple[str, str]
"""Reason and scope of a suppression."""


@dataclass(frozen=True, slots=True)
class Expected:
    """kind: the class of failure, empty for none. listed: the provider's list that the address gets on.

    temporary: the entry has a code of class 4.
    """

    kind: str = ""
    listed: str = ""
    temporary: bool = False


OUTCOMES = {
    FINE: Expected(),
    "defer": Expected(),
    "greylist": Expected(),
    "bounce": Expected("hard_bounce", "bounces"),
    "delayed-bounce": Expected("hard_bounce", "bounces"),
    "user-unknown": Expected("hard_bounce"),
    "soft-bounce": Expected("soft_bounce", "bounces", temporary=True),
    "delayed-soft-bounce": Expected("soft_bounce"),
    "old": Expected("soft_bounce"),
    "no-mx": Expected("soft_bounce"),
    "mailbox-full": Expected("mailbox_full", "bounces"),
    "espblock": Expected("blocked"),
    "reject": Expected("rejected"),
    "complain": Expected("complaint", "complaints"),
    "unsubscribe": Expected("unsubscribed", "unsubscribes"),
    "suppressed-bounce": Expected("listed_bounce"),
    "suppressed-complaint": Expected("listed_complaint"),
    "suppressed-unsubscribe": Expected("listed_unsubscribe"),
}
LISTED = {"bounces": "listed_bounce", "complaints": "listed_complaint", "unsubscribes": "listed_unsubscribe"}
"""What a further mail to an address on the provider's list comes to."""
REFUSED = {"400": "invalid", "sandbox": "not_permitted"}
"""Answers after which nothing more is tried."""
FAULTS = {
    **{"401": "account", "403": "account", "html": "configuration", "420": "throttled", "429": "throttled"},
    **dict.fromkeys(["500", "502-accepted", "timeout-before", "timeout-after", "drop-before", "drop"], "ambiguous"),
    "truncated": "ambiguous",
}
"""By faults that pass: the class that is seen before the message is sent after all."""
SUPPRESSED_BY = {
    "bounces": {"bounce", "mailbox_full", "soft_bounces"},
    "complaints": {"complaint"},
    "unsubscribes": {"unsubscribe"},
}
"""Our reasons that mean the same as an entry of the provider's list."""
IMPORTED_AS: dict[str, Fact] = {
    "bounces": ("bounce", "all"),
    "complaints": ("complaint", "all"),
    "unsubscribes": ("unsubscribe", "bulk"),
}
"""What an entry is to us that we only know from the list."""
SOFTLY: frozenset[Fact] = frozenset({("soft_bounces", "all")})
"""The same of an entry that is temporary."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A cell of the page, where there is no other provider. status: None where the message stays what it is."""

    status: str | None
    alert: bool
    again: bool
    waits: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """What has to be true in the end.

    copies: mails that the provider has accepted, more of them only if the message says so and is critical. alerts:
    kinds that have to be told; may_alert: others that may. listed: the provider's list that has the address.
    meets_list: the second copy is rejected because the first has brought the address on the list. It may also end as
    suppressed after its first copy, with an alert, as the lists may be compared before it is sent again; or as bounced
    if it is a possible duplicate, whose two copies may both be on their way before there is an entry.
    """

    status: str
    copies: int
    suppressions: frozenset[Fact]
    alerts: frozenset[str]
    may_alert: frozenset[str]
    listed: str
    meets_list: bool = False

    def against(self, status: str) -> "Promise":
        """What is promised of a message that has ended so."""
        if self.meets_list and status == "suppressed":
            return replace(self, status=status, copies=1, alerts=frozenset({"suppressed"}), suppressions=SOFTLY)
        if self.meets_list and status == "bounced":
            return replace(self, status=status, alerts=frozenset(), suppressions=SOFTLY)
        return self


class Page:
    """The table "Classes" of docs/mail-failures.md."""

    def __init__(self, text: str) -> None:
        lines = text.partition("## Classes")[2].partition("\n## ")[0].splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
        self._rows = {row[0].strip("`"): dict(zip(COLUMNS, row, strict=True)) for row in cells}

    def rule(self, kind: str, importance: str) -> Rule:
        cell = self._rows[kind][importance]
        alone = re.search(r"\((.*)\)", cell)
        what, *more = (alone[1] if alone else cell).split(", ")
        rule = Rule(
            status=what if what in ENDS else None,
            alert="alert" in more,
            again=what.startswith("sent again"),
            waits=what.startswith("waits"),
        )
        if not (rule.status or rule.again or rule.waits or what == "sent"):
            raise ValueError(f"{PAGE.name} says of {kind}, {importance}: {what!r}, which is not understood here.")
        return rule

    def suppression(self, kind: str) -> frozenset[Fact]:
        found = re.match(r"(\w+): (all|bulk) mail", self._rows[kind]["suppression"])
        return frozenset({(found[1], found[2])} if found else ())


def promise(planned: Planned, page: Page) -> Promise:
    if planned.call in REFUSED:
        return _ended(REFUSED[planned.call], planned, page, copies=0, listed="")
    outcome = OUTCOMES[planned.outcome]
    may_alert = _alerts_of_the_fault(planned, page)
    if not outcome.kind:
        return Promise("delivered", 1, frozenset(), frozenset(), may_alert, "")
    first = page.rule(outcome.kind, planned.importance)
    if not first.again:
        ended = _ended(outcome.kind, planned, page, copies=1, listed=outcome.listed, may_alert=may_alert)
        return replace(ended, suppressions=SOFTLY) if outcome.temporary else ended
    if outcome.listed:  # the second one meets the list
        kind = LISTED[outcome.listed]
        ended = _ended(kind, planned, page, copies=2, listed=outcome.listed, may_alert=may_alert | {outcome.kind})
        return replace(ended, meets_list=True)
    # It bounces once more, and critical mail that does not arrive is told.
    alerts = frozenset({outcome.kind})
    return Promise("bounced", 2, page.suppression(outcome.kind), alerts, may_alert, "")


def _ended(
    kind: str,
    planned: Planned,
    page: Page,
    *,
    copies: int,
    listed: str,
    may_alert: frozenset[str] = frozenset(),
) -> Promise:
    rule = page.rule(kind, planned.importance)
    suppressions = page.suppression(kind)
    if listed and SUPPRESSED_BY[listed].isdisjoint(reason for reason, _ in suppressions):
        suppressions |= {IMPORTED_AS[listed]}
    alerts = frozenset({kind} if rule.alert else ())
    return Promise(rule.status or "delivered", copies, suppressions, alerts, may_alert, listed)


def _alerts_of_the_fault(planned: Planned, page: Page) -> frozenset[str]:
    """May, and not must: whoever is killed between the answer and its record has told nobody."""
    if planned.call not in ONCE:
        return frozenset()
    kind = FAULTS[planned.call]
    return frozenset({kind} if page.rule(kind, planned.importance).alert else ())
