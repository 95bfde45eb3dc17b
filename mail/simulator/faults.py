"""What goes wrong on demand: asked for through the control API, or by a recipient's local part."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from mail.simulator.addresses import Address
from mail.simulator.http import Answer, RefusedError, Reply, Silence, as_json, said, text
from mail.simulator.outcomes import leading_word

SANDBOX = (
    "Domain mg.example.org is not allowed to send: Sandbox subdomains are for test purposes only. "
    "Please add your own domain or add the address to authorized recipients in Account Settings."
)
MAGNIFICENT = "<html><body><h1>Mailgun Magnificent API</h1></body></html>"
MOST_FAULTS = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """`accepts`: whether the mail is accepted all the same. `webhook`: whether it happens to webhooks, not to calls."""

    accepts: bool = False
    webhook: bool = False


REFUSALS = (400, 401, 402, 403, 404, 413, 420, 429)
SERVER_ERRORS = (500, 502, 503, 504)
KINDS: Mapping[str, Kind] = {
    "timeout-before": Kind(),
    "timeout-after": Kind(accepts=True),
    "drop-before": Kind(),
    "drop": Kind(accepts=True),
    "html": Kind(),
    "sandbox": Kind(),
    "truncated": Kind(accepts=True),
    **{str(status): Kind() for status in (*REFUSALS, *SERVER_ERRORS)},
    **{f"{status}-accepted": Kind(accepts=True) for status in SERVER_ERRORS},
    "doubled": Kind(webhook=True),
    "reordered": Kind(webhook=True),
    "lost": Kind(webhook=True),
    "early": Kind(webhook=True),
    "delayed": Kind(webhook=True),
    "forged": Kind(webhook=True),
    "swapped": Kind(webhook=True),
}
CALLS = {name: kind for name, kind in KINDS.items() if not kind.webhook}
APIS = ("messages", "events", "suppressions")


@dataclass(slots=True)
class Fault:
    """`times` is how often it still happens; None: until it is cleared. `recipient` is an address or a local part,
    empty for all. `on` is the API whose calls it hits. `seconds` is the pause that 420 and 429 ask for and that delayed
    webhooks make, and how long a time-out holds the connection."""

    id: int
    kind: str
    times: int | None = None
    recipient: str = ""
    on: str = "messages"
    seconds: float | None = None

    @property
    def accepts(self) -> bool:
        return KINDS[self.kind].accepts

    def concerns(self, address: Address | None) -> bool:
        if not self.recipient:
            return True
        return address is not None and self.recipient.lower() in (address.spec.lower(), address.local)


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0
        self._met: set[str] = set()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, wishes: Mapping[str, object]) -> Fault:
        """RefusedError(400) for a fault that makes no sense."""
        _check(wishes)
        if len(self._faults) >= MOST_FAULTS:
            raise RefusedError(400, f"There are {MOST_FAULTS} faults already.")
        self._number += 1
        fault = Fault(self._number, **{"times": 1, **wishes})  # type: ignore[arg-type]
        self._faults.append(fault)
        return fault

    def remove(self, number: str) -> None:
        self._faults = [fault for fault in self._faults if str(fault.id) != number]

    def clear(self) -> None:
        self._faults.clear()
        self._met.clear()

    def for_call(self, on: str, address: Address | None) -> Fault | None:
        """The fault that this call meets: the first that was asked for, else the one that the local part names."""
        for fault in self._faults:
            if fault.kind in CALLS and fault.on == on and fault.concerns(address):
                return self._used(fault)
        return self._named(address) if on == "messages" and address else None

    def for_webhooks(self, address: Address) -> dict[str, Fault]:
        """All faults that the webhooks about this mail meet, by kind."""
        return {
            fault.kind: self._used(fault)
            for fault in list(self._faults)
            if fault.kind not in CALLS and fault.concerns(address)
        }

    def _used(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return fault

    def _named(self, address: Address) -> Fault | None:
        kind = leading_word(address.local, CALLS)
        if not kind:
            return None
        once = re.match(r"-once\b", address.local[len(kind) :])
        if once and address.spec in self._met:
            return None
        self._met.add(address.spec)
        return Fault(0, kind)


def faulty_reply(fault: Fault, accepted: Answer, hold: float) -> Reply:
    """What the client gets; `accepted` is what it would have got. `hold` is the longest that it is kept waiting."""
    kind = fault.kind.removesuffix("-accepted")
    seconds = hold if fault.seconds is None else fault.seconds
    if kind.startswith("timeout"):
        return Silence(seconds)
    if kind.startswith("drop"):
        return Silence()
    if kind == "html":
        return Answer(200, MAGNIFICENT.encode(), "text/html; charset=utf-8")
    if kind == "truncated":
        return Answer(200, accepted.body, headers=accepted.headers, cut=len(accepted.body) // 2)
    if kind == "sandbox":
        return said(SANDBOX, 403)
    return _error(int(kind), fault)


def _error(status: int, fault: Fault) -> Answer:
    if status == 401:
        return text("Forbidden", 401)
    pause = 60 if fault.seconds is None else fault.seconds
    if status == 420:
        until = formatdate(time.time() + pause, usegmt=True).replace("GMT", "UTC")
        return said(
            f"Domain mg.example.org is not allowed to send: recipient limit exceeded, try again after {until}", 420
        )
    if status == 429:
        headers = {
            "X-RateLimit-Limit": "100",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(time.time() + pause)),
            "Retry-After": str(int(pause)),
        }
        return as_json({"message": "Too many requests"}, 429, headers)
    return said(ERRORS.get(status, "Internal Server Error"), status)


ERRORS = {
    400: "to parameter is not a valid address. please check documentation",
    402: "Payment required",
    403: "Domain mg.example.org is not allowed to send: The domain is disabled",
    404: "Domain not found: mg.example.org",
    413: "Message exceeds the maximum size of 25 MB",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _check(wishes: Mapping[str, object]) -> None:
    unknown = wishes.keys() - {"kind", "times", "recipient", "on", "seconds"}
    if unknown:
        raise RefusedError(400, f"A fault has no {', '.join(sorted(unknown))}.")
    if wishes.get("kind") not in list(KINDS):
        raise RefusedError(400, f"kind must be one of {', '.join(KINDS)}.")
    times, seconds = wishes.get("times"), wishes.get("seconds")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or not 0 < times <= 1_000_000):
        raise RefusedError(400, "times must be a number from 1 on, or null for ever.")
    if seconds is not None and (
        not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 1_000_000
    ):
        raise RefusedError(400, "seconds must be a number from 0 on.")
    if not isinstance(wishes.get("recipient", ""), str) or wishes.get("on", "messages") not in APIS:
        raise RefusedError(400, f"recipient must be a text, and on one of {', '.join(APIS)}.")
