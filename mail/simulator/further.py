"""Events that a person or a test asks for, beyond those of the mail's outcome. Pure."""

from dataclasses import replace

from mail.simulator.http import RefusedError
from mail.simulator.outcomes import (
    BOUNCED,
    BUSY,
    CLICKED,
    COMPLAINED,
    DELAYED_BOUNCE,
    DELIVERED,
    OPENED,
    UNSUBSCRIBED,
    Step,
)

FURTHER = {
    "delivered": DELIVERED,
    "deferred": BUSY,
    "bounced": BOUNCED,
    "delayed-bounce": DELAYED_BOUNCE,
    "complained": COMPLAINED,
    "opened": OPENED,
    "clicked": CLICKED,
    "unsubscribed": UNSUBSCRIBED,
}


def further_step(name: str) -> Step:
    if name not in FURTHER:
        raise RefusedError(400, f"event must be one of {', '.join(FURTHER)}.")
    return replace(FURTHER[name], after=0)
