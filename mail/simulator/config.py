"""Settings that can be changed while the simulator runs. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

from mail.simulator.http import RequestError

MAILGUN_HOUR_IN_SECONDS = 12.0
DEFAULT_TIME_SCALE = MAILGUN_HOUR_IN_SECONDS / 3600


@dataclass(frozen=True, slots=True)
class Config:
    webhook_url: str = ""
    """Where webhooks are sent. Empty: nowhere."""
    latency: float = 0.0
    """Seconds that the API takes to answer a message. The mail is accepted halfway through."""
    time_scale: float = DEFAULT_TIME_SCALE
    """Real seconds per second of Mailgun's time, for deferrals and for the pauses between tries of a webhook."""
    webhook_delay: float = 0.05
    """Seconds before each event, unscaled."""
    index_delay: float = 0.0
    """Maximum seconds until the events API shows an event. Each has its own delay, so they appear out of order."""
    hold: float = 120.0
    """Maximum seconds that a fault leaves a request unanswered, if the client waits that long."""
    wait: float = 60.0
    """Seconds that 420 and 429 ask a client to wait."""
    accepted_webhooks: bool = False
    """Also send a webhook for "accepted". The events API always has this event."""

    def changed(self, values: Mapping[str, object]) -> Self:
        """Raises RequestError(400) for an unknown name or a value of the wrong type."""
        defaults = asdict(type(self)())
        for name, value in values.items():
            if name not in defaults:
                raise RequestError(400, f"There is no setting {name!r}; there are {', '.join(defaults)}.")
            if not _is_like(value, defaults[name]):
                raise RequestError(400, f"{name} cannot be {value!r}.")
        return replace(self, **values)  # type: ignore[arg-type]


def _is_like(value: object, default: object) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1_000_000
    return isinstance(value, type(default))
