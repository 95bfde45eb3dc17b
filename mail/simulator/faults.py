"""Failures on demand: added through the control API, or named by a recipient's local part.

`timeout-after@…` names a fault of the call; tags add faults to an outcome: `bounce+503-accepted-once+doubled@…`.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from mail.simulator.config import Config
from mail.simulator.forms import Address
from mail.simulator.http import NoResponse, Reply, RequestError, Response, as_json, as_message, as_text
from mail.simulator.outcomes import leading_word

SANDBOX_MESSAGE = (
    "Domain mg.example.org is not allowed to send: Sandbox subdomains are for test purposes only. "
    "Please add your own domain or add the address to authorized recipients in Account Settings."
)
HTML_PAGE = "<html><body><h1>Mailgun Magnificent API</h1></body></html>"
MAX_FAULTS = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """`accepts`: the mail is accepted in spite of the failed call. `webhook`: it hits webhooks instead of calls."""

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
CALL_FAULTS = {name: kind for name, kind in KINDS.items() if not kind.webhook}
WEBHOOK_FAULTS = {name: kind for name, kind in KINDS.items() if kind.webhook}
APIS = ("messages", "events", "suppressions")
OPTIONS = ("kind", "times", "recipient", "on", "seconds")


@dataclass(slots=True)
class Fault:
    """`times`: how often it still happens; None: until it is cleared. `recipient`: an address or a local part; empty:
    all. `on`: the API whose calls it hits. `seconds`: the wait that 420 and 429 ask for, the delay of webhooks, or how
    long a time-out holds the connection; None: as the configuration says."""

    id: int
    kind: str
    times: int | None = None
    recipient: str = ""
    on: str = "messages"
    seconds: float | None = None

    @property
    def accepts(self) -> bool:
        return KINDS[self.kind].accepts

    def hits(self, address: Address | None) -> bool:
        if not self.recipient:
            return True
        return address is not None and self.recipient.lower() in (address.spec.lower(), address.local)


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0
        self._hit_once: set[str] = set()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, options: Mapping[str, object]) -> Fault:
        """Raises RequestError(400) for invalid options."""
        _check(options)
        if len(self._faults) >= MAX_FAULTS:
            raise RequestError(400, f"There are already {MAX_FAULTS} faults.")
        self._number += 1
        fault = Fault(self._number, **{"times": 1, **options})  # type: ignore[arg-type]
        self._faults.append(fault)
        return fault

    def remove(self, number: str) -> None:
        self._faults = [fault for fault in self._faults if str(fault.id) != number]

    def clear(self) -> None:
        self._faults.clear()
        self._hit_once.clear()

    def for_call(self, on: str, address: Address | None) -> Fault | None:
        """The fault that hits this call: the first one added that matches, else the one that the local part names."""
        for fault in self._faults:
            if fault.kind in CALL_FAULTS and fault.on == on and fault.hits(address):
                return self._use(fault)
        return self._named(address) if on == "messages" and address else None

    def for_webhooks(self, address: Address) -> dict[str, Fault]:
        """The faults that hit the webhooks of a mail to this address, by kind."""
        named = {kind: Fault(0, kind) for tag in _tags(address.local) if (kind := leading_word(tag, WEBHOOK_FAULTS))}
        return named | {
            fault.kind: self._use(fault)
            for fault in list(self._faults)
            if fault.kind not in CALL_FAULTS and fault.hits(address)
        }

    def _use(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return fault

    def _named(self, address: Address) -> Fault | None:
        parts = [address.local, *_tags(address.local)]
        kind, part = next(((kind, part) for part in parts if (kind := leading_word(part, CALL_FAULTS))), ("", ""))
        if not kind:
            return None
        once = re.match(r"-once\b", part[len(kind) :])
        if once and address.spec in self._hit_once:
            return None
        self._hit_once.add(address.spec)
        return Fault(0, kind)


def faulty_reply(fault: Fault, response: Response, config: Config) -> Reply:
    """The reply in place of `response`."""
    kind = fault.kind.removesuffix("-accepted")
    seconds = config.hold if fault.seconds is None else fault.seconds
    if kind.startswith("timeout"):
        return NoResponse(seconds)
    if kind.startswith("drop"):
        return NoResponse()
    if kind == "html":
        return Response(200, HTML_PAGE.encode(), "text/html; charset=utf-8")
    if kind == "truncated":
        return Response(200, response.body, headers=response.headers, cut=len(response.body) // 2)
    if kind == "sandbox":
        return as_message(SANDBOX_MESSAGE, 403)
    return _error_response(int(kind), config.wait if fault.seconds is None else fault.seconds)


def _error_response(status: int, wait: float) -> Response:
    """wait: seconds that 420 and 429 ask for."""
    if status == 401:
        return as_text("Forbidden", 401)
    if status == 420:
        until = formatdate(time.time() + wait, usegmt=True).replace("GMT", "UTC")
        return as_message(
            f"Domain mg.example.org is not allowed to send: recipient limit exceeded, try again after {until}", 420
        )
    if status == 429:
        headers = {
            "X-RateLimit-Limit": "100",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(time.time() + wait)),
            "Retry-After": str(int(wait)),
        }
        return as_json({"message": "Too many requests"}, 429, headers)
    return as_message(ERROR_MESSAGES.get(status, "Internal Server Error"), status)


ERROR_MESSAGES = {
    400: "to parameter is not a valid address. please check documentation",
    402: "Payment required",
    403: "Domain mg.example.org is not allowed to send: The domain is disabled",
    404: "Domain not found: mg.example.org",
    413: "Message exceeds the maximum size of 25 MB",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _tags(local_part: str) -> list[str]:
    return local_part.split("+")[1:]


def _check(options: Mapping[str, object]) -> None:
    unknown = options.keys() - set(OPTIONS)
    if unknown:
        raise RequestError(400, f"A fault has no {', '.join(sorted(unknown))}; it has {', '.join(OPTIONS)}.")
    if options.get("kind") not in list(KINDS):
        raise RequestError(400, f"kind must be one of {', '.join(KINDS)}.")
    times, seconds = options.get("times"), options.get("seconds")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or not 0 < times <= 1_000_000):
        raise RequestError(400, "times must be a whole number from 1 to 1000000, or null for no limit.")
    if seconds is not None and (
        not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 1_000_000
    ):
        raise RequestError(400, "seconds must be a number from 0 to 1000000.")
    if not isinstance(options.get("recipient", ""), str) or options.get("on", "messages") not in APIS:
        raise RequestError(400, f"recipient must be a string, and on one of {', '.join(APIS)}.")
