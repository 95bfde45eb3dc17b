"""When a broadcast or stream does its senders' reputation harm: figures in, the reason to stop it out. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from mail.status import Status


@dataclass(frozen=True, slots=True)
class Bounds:
    """Percentages at which it is stopped, once the fate of `minimum` messages is known.

    Receivers count complaints against what was delivered, and want less than 0.3 % (Google, "Email sender guidelines";
    Yahoo, "Sender Best Practices"). Bounces: Amazon SES reviews senders at 5 %.
    """

    minimum: int = 200
    bounces: float = 5.0
    complaints: float = 0.3


@dataclass(frozen=True, slots=True)
class Rates:
    """Of messages whose fate is known. bounces, complaints: percentages; None while none is known."""

    delivered: int
    bounced: int
    complained: int

    @classmethod
    def of(cls, figures: Mapping[str, int]) -> "Rates":
        """figures: messages by status. What was complained about had been delivered."""
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


def reason_to_stop(rates: Rates, bounds: Bounds) -> str:
    """A sentence without its full stop; empty where nothing is wrong or too little is known."""
    if rates.known >= bounds.minimum and (rates.bounces or 0) >= bounds.bounces:
        said = f"{rates.bounced} of {rates.known} messages bounced"
        return f"{said}: {rates.bounces:.2g} %, the bound is {bounds.bounces:g} %"
    if rates.delivered >= bounds.minimum and (rates.complaints or 0) >= bounds.complaints:
        said = f"{rates.complained} of {rates.delivered} delivered messages were complained about"
        return f"{said}: {rates.complaints:.2g} %, the bound is {bounds.complaints:g} %"
    return ""
