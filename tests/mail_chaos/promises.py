"""Where each message has to end: read from docs/mail-failures.md, and not computed by the code under test. Pure.

This module itself only knows the outside world: which class of failure each outcome of the simulator is, and which of
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
    """kind: the class of failure, empty for none. listed: the provider's list to which the address is added.

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
"""By the provider's list that has the address: the class of failure of further mail to it."""
REFUSED = {"400": "invalid", "sandbox": "not_permitted"}
"""Answers after which nothing more is tried."""
FAULTS = {
    **{"401": "account", "403": "sender", "html": "configuration", "420": "throttled", "429": "throttled"},
    **dict.fromkeys(["500", "502-accepted", "timeout-before", "timeout-after", "drop-before", "drop"], "ambiguous"),
    "truncated": "ambiguous",
}
"""By temporary fault: the class of failure of the call, after which the message is sent all the same."""
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
"""The suppression as which an entry is imported that only the provider's list tells of."""
SOFTLY: frozenset[Fact] = frozenset({("soft_bounces", "all")})
"""The suppression as which a temporary entry is imported."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A cell of the page, for a single provider. status: None if the message keeps its status."""

    status: str | None
    alert: bool
    again: bool
    waits: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """What has to be true in the end.

    copies: mails that the provider has accepted; more only if the message is critical and a possible duplicate.
    alerts: kinds of alerts that there have to be. may_alert: others that there may be. listed: the provider's list that
    has the address. meets_list: the second copy is rejected, because the first one has put the address on the list.
    Such a message may also end as suppressed, with an alert, if the lists are compared before it is sent again; or, if
    it is a possible duplicate, as bounced, because both copies may be sent before the address is on the list.
    """

    status: str
    copies: int
    suppressions: frozenset[Fact]
    alerts: frozenset[str]
    may_alert: frozenset[str]
    listed: str
    meets_list: bool = False

    def against(self, status: str) -> "Promise":
        """What is promised of a message that has ended with this status."""
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
    if outcome.listed:  # the list refuses the second copy
        kind = LISTED[outcome.listed]
        ended = _ended(kind, planned, page, copies=2, listed=outcome.listed, may_alert=may_alert | {outcome.kind})
        return replace(ended, meets_list=True)
    # The second copy bounces as well, and critical mail that does not arrive causes an alert.
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
    """Alerts that there may be: none is stored if the process is killed between the answer and its record."""
    if planned.call not in ONCE:
        return frozenset()
    kind = FAULTS[planned.call]
    return frozenset({kind} if page.rule(kind, planned.importance).alert else ())
