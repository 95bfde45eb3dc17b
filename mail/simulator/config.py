"""What can be turned while the simulator runs. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

from mail.simulator.http import RefusedError

MAILGUN_HOUR_IN_SECONDS = 12.0
DEFAULT_TIME_SCALE = MAILGUN_HOUR_IN_SECONDS / 3600


@dataclass(frozen=True, slots=True)
class Knobs:
    webhook_url: str = ""
    """Where webhooks go; nowhere if it is empty."""
    latency: float = 0.0
    """Seconds that the API takes to answer a message; the mail is accepted in the middle of them."""
    time_scale: float = DEFAULT_TIME_SCALE
    """Seconds here for each second of Mailgun's, in deferrals and in the pauses between two tries of a webhook."""
    webhook_delay: float = 0.05
    """Seconds before each event, unscaled."""
    index_delay: float = 0.0
    """Seconds after which the events API knows each event at the latest; they are indexed out of order."""
    hold: float = 120.0
    """Seconds that a request is left without an answer where a fault says so, if the client has that much patience."""
    accepted_webhooks: bool = False
    """Whether "accepted" is told by webhook too; it is always among the events."""

    def turned(self, wishes: Mapping[str, object]) -> Self:
        """RefusedError(400) for a knob that there is not, or a value that does not fit it."""
        usual = asdict(type(self)())
        for name, value in wishes.items():
            if name not in usual:
                raise RefusedError(400, f"There is no knob {name!r}; there are {', '.join(usual)}.")
            if not _fits(value, usual[name]):
                raise RefusedError(400, f"{name} cannot be {value!r}.")
        return replace(self, **wishes)  # type: ignore[arg-type]


def _fits(value: object, usual: object) -> bool:
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1_000_000
    return isinstance(value, type(usual))
