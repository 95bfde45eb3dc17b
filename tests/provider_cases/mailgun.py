"""Mailgun."""

from typing import Any

from tests.provider_cases import DOMAIN, LATER, Answered, Provider, Told
from tests.support.mail.mailgun_webhooks import make_event, sign


def failed(said: str, kind: str, severity: str, reason: str, code: int, message: str = "", **more: Any) -> Told:
    status = {"code": code, "message": message}
    return Told(
        said, {"event": "failed", "severity": severity, "reason": reason, "delivery-status": status, **more}, kind
    )


def permanent(reason: str, code: int, message: str, kind: str) -> Told:
    return failed(f"permanent, {reason}, {code} {message}".strip(), kind, "permanent", reason, code, message)


EVENTS = (
    Told("delivered", {"event": "delivered"}, "", "delivered"),
    failed("temporary, generic, 421 4.3.2 Service busy", "", "temporary", "generic", 421, "4.3.2 Service busy"),
    failed("temporary, greylisted, 450", "", "temporary", "greylisted", 450),
    permanent("bounce", 550, "5.1.1 The email account that you tried to reach does not exist", "hard_bounce"),
    permanent("generic", 554, "delivery error: dd This user doesn't have a yahoo.com account", "hard_bounce"),
    permanent("generic", 550, "5.5.0 Requested action not taken: mailbox unavailable", "hard_bounce"),
    permanent("generic", 550, "5.4.1 Recipient address rejected: Access denied", "hard_bounce"),
    permanent("bounce", 450, "4.2.1 The user is receiving mail too quickly", "soft_bounce"),
    permanent("bounce", 421, "4.4.2 Connection dropped", "soft_bounce"),
    permanent("generic", 447, "Message delivery delayed for too long", "soft_bounce"),
    permanent("old", 602, "Not delivering to too old message", "soft_bounce"),
    failed("temporary, old, 498 No MX", "soft_bounce", "temporary", "old", 498, "No MX"),
    permanent("bounce", 552, "5.2.2 The recipient's mailbox is full", "mailbox_full"),
    permanent("espblock", 550, "5.7.1 likely unsolicited mail", "blocked"),
    permanent("generic", 554, "5.7.9 Message not accepted for policy reasons", "blocked"),
    permanent("generic", 554, "Something that nobody knows", "blocked"),
    permanent("bounce", 550, "5.1.0 Sender address rejected: User unknown", "blocked"),
    permanent("suppress-bounce", 605, "", "listed_bounce"),
    permanent("suppress-complaint", 607, "", "listed_complaint"),
    permanent("suppress-unsubscribe", 606, "", "listed_unsubscribe"),
    Told("rejected: a virus", {"event": "rejected", "reject": {"reason": "Virus found"}}, "rejected"),
    Told("complained", {"event": "complained"}, "complaint"),
    Told("unsubscribed", {"event": "unsubscribed"}, "unsubscribed"),
)

LIMIT = f"Domain {DOMAIN} is not allowed to send: recipient limit exceeded, try again after "
SANDBOX = "Domain is not allowed to send: Sandbox subdomains are for test purposes only. Please add your own domain or "

ANSWERS = (
    Answered(
        "420 recipient limit exceeded, try again after …", 420, {"message": LIMIT + LATER}, "throttled", pause=1200
    ),
    Answered(
        "403 recipient limit exceeded, try again after …", 403, {"message": LIMIT + LATER}, "throttled", pause=1200
    ),
    Answered("429, Retry-After: 60", 429, {"message": "Too many requests"}, "throttled", {"Retry-After": "60"}, 60),
    Answered(
        "403 Sandbox … authorized recipients",
        403,
        {"message": f"{SANDBOX}add the address to authorized recipients in Account Settings."},
        "not_permitted",
    ),
    Answered("400 'to' parameter is not a valid address", 400, {"message": "'to' parameter is not valid"}, "invalid"),
    Answered("401 Forbidden", 401, "Forbidden", "account"),
    Answered("402 payment", 402, {"message": "Payment required"}, "account"),
    Answered("403 domain not allowed to send", 403, {"message": "Domain is not allowed to send"}, "sender"),
    Answered("404 domain not found", 404, {"message": f"Domain not found: {DOMAIN}"}, "sender"),
    Answered("413 too large", 413, {"message": "Message too large"}, "invalid"),
    Answered("500", 500, {"message": "Internal error"}, "ambiguous"),
    Answered("200 with a page of HTML", 200, "<html>Mailgun Magnificent API</html>", "configuration"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    return {"signature": sign(), "event-data": make_event(attempt) | payload}, {}


MAILGUN = Provider(
    "mailgun",
    "Mailgun",
    {
        "api_key": "key",
        "api_url": "{url}/v3",
        "sender_domain": DOMAIN,
        "webhook_signing_key": "signing-key-of-the-simulator",
    },
    EVENTS,
    ANSWERS,
    webhook,
)
