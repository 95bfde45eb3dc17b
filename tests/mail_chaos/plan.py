"""Which failures each message meets, decided by the seed before anything is sent. Pure.

The simulator reads them from the recipient's address: what becomes of the mail, a fault of the call that hands it over,
and a fault of the webhooks that tell of it. The three are independent, and each failure has a share of SHARE.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 0.05
"""The share of all messages that meets each failure; the rest of a group meets none."""

OUTCOMES = (
    *("bounce", "delayed-bounce", "user-unknown", "soft-bounce", "delayed-soft-bounce", "old", "no-mx"),
    *("mailbox-full", "espblock", "reject", "complain", "unsubscribe"),
    *("suppressed-bounce", "suppressed-complaint", "suppressed-unsubscribe", "defer", "greylist"),
)
"""Outcomes of the simulator."""
FINE = "fine"

ONCE = (
    *("401", "403", "html", "420", "429", "500", "502-accepted", "timeout-before", "timeout-after"),
    *("drop-before", "drop", "truncated"),
)
"""Faults of the simulator that only the first call meets."""
ALWAYS = ("400", "sandbox")
CALLS = (*ONCE, *ALWAYS)
STOPPING = ("401", "403", "html", "420", "429")
"""Faults that stop all mail for a while. They hit consecutive messages, because an account is suspended for all."""
WEBHOOKS = ("lost", "doubled", "delayed", "reordered", "early", "forged", "swapped")

GUST = 2500
"""Among so many consecutive messages, those that meet the same stopping fault are posted together."""
DOMAINS = 50
"""Domains of recipients. Several, because a block slows down all bulk mail to its domain."""

IMPORTANCES = {"critical": 30, "normal": 35, "bulk": 35}
"""How many of a hundred messages."""
IN_BROADCAST = 0.6
"""The share of bulk mail that is sent by the broadcast."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One message. call, webhooks: empty where nothing goes wrong."""

    address: str
    importance: str
    in_broadcast: bool
    outcome: str
    call: str
    webhooks: str


def plan(count: int, seed: int) -> list[Planned]:
    """All messages, in the order in which they are posted."""
    dice = random.Random(seed)
    return _in_gusts([_planned(number, dice) for number in range(count)], dice)


def _planned(number: int, dice: random.Random) -> Planned:
    importance = dice.choices(list(IMPORTANCES), list(IMPORTANCES.values()))[0]
    outcome = _one_of(OUTCOMES, dice) or FINE
    call, webhooks = _one_of(CALLS, dice), _one_of(WEBHOOKS, dice)
    tags = [f"{call}-once" if call in ONCE else call, webhooks, f"n{number}"]
    return Planned(
        address=f"{'+'.join([outcome, *filter(None, tags)])}@d{number % DOMAINS}.example.org",
        importance=importance,
        in_broadcast=importance == "bulk" and dice.random() < IN_BROADCAST,
        outcome=outcome,
        call=call,
        webhooks=webhooks,
    )


def _one_of(failures: Sequence[str], dice: random.Random) -> str:
    place = int(dice.random() / SHARE)
    return failures[place] if place < len(failures) else ""


def _in_gusts(messages: list[Planned], dice: random.Random) -> list[Planned]:
    ordered = []
    for start in range(0, len(messages), GUST):
        part = messages[start : start + GUST]
        calm = [message for message in part if message.call not in STOPPING]
        places = {fault: dice.randrange(len(calm) + 1) for fault in STOPPING}
        for fault, place in sorted(places.items(), key=lambda each: -each[1]):
            calm[place:place] = [message for message in part if message.call == fault]
        ordered += calm
    return ordered
