"""Tells whether a broadcast or stream harms its sender's reputation and must be stopped, by its figures. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from mail.status import Status


@dataclass(frozen=True, slots=True)
class Limits:
    """Percentages at which it is stopped, once the outcome of `minimum` messages is known.

    Receivers count complaints against delivered mail, and require less than 0.3 % (Google, "Email sender guidelines";
    Yahoo, "Sender Best Practices"). Bounces: Amazon SES reviews senders at 5 %.
    """

    minimum: int = 200
    bounces: float = 5.0
    complaints: float = 0.3


@dataclass(frozen=True, slots=True)
class Rates:
    """Numbers of messages whose outcome is known, and their percentages, which are None while nothing is known."""

    delivered: int
    bounced: int
    complained: int

    @classmethod
    def of(cls, figures: Mapping[str, int]) -> "Rates":
        """figures: messages by status. A message with a complaint had been delivered."""
        complained = figures.get(Status.COMPLAINED, 0)
        return cls(figures.get(Status.DELIVERED, 0) + complained, figures.get(Status.BOUNCED, 0), complained)

    @property
    def known(self) -> int:
        return self.delivered + self.bounced

    @property
    def bounces(self) -> float | None:
        return 100 * self.bounced / self.known if self.known else None

    @property
    def complaints(self) -> float | None:
        return 100 * self.complained / self.delivered if self.delivered else None


def reason_to_stop(rates: Rates, limits: Limits) -> str:
    """A sentence without its full stop; empty if the rates are below the limits or too few outcomes are known."""
    if rates.known >= limits.minimum and (rates.bounces or 0) >= limits.bounces:
        counts = f"{rates.bounced} of {rates.known} messages bounced"
        return f"{counts}: {rates.bounces:.2g} %, the limit is {limits.bounces:g} %"
    if rates.delivered >= limits.minimum and (rates.complaints or 0) >= limits.complaints:
        counts = f"{rates.complained} of {rates.delivered} delivered messages were complained about"
        return f"{counts}: {rates.complaints:.2g} %, the limit is {limits.complaints:g} %"
    return ""
