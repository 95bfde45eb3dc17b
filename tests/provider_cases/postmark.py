"""Postmark."""

from typing import Any

from django.utils import timezone

from tests.provider_cases import Answered, Provider, Told

SOFT = "Unable to temporarily deliver message (ex: mailbox full, account disabled, exceeds quota, out of disk space)."


def bounce(sort: str, kind: str, details: str = "", description: str = "", status: str = "") -> Told:
    fields = {"RecordType": "Bounce", "Type": sort, "Details": details, "Description": description}
    return Told(f"Bounce {sort}" + (f", {details}" if details else ""), fields, kind, status)


def suppressed(reason: str, kind: str) -> Told:
    fields = {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": reason}
    return Told(f"SubscriptionChange {reason}", fields, kind)


EVENTS = (
    Told("Delivery", {"RecordType": "Delivery", "Details": "250 OK"}, "", "delivered"),
    bounce("HardBounce", "hard_bounce", "smtp;550 5.1.1 The email account that you tried to reach does not exist."),
    bounce("HardBounce", "blocked", "smtp;550 5.7.1 Blocked using a block list"),
    bounce("SoftBounce", "soft_bounce", "smtp;450 4.2.1 try later", SOFT),
    bounce("SoftBounce", "soft_bounce", "", SOFT),
    bounce("SoftBounce", "mailbox_full", "smtp;552 5.2.2 mailbox full", SOFT),
    bounce("Transient", "", "smtp;421 4.4.1 timed out", status="deferred"),
    bounce("DnsError", "", status="deferred"),
    bounce("Blocked", "blocked", "smtp;554 5.7.1 Message blocked"),
    bounce("DMARCPolicy", "blocked", "smtp;550 5.7.26 unauthenticated"),
    bounce("SpamNotification", "blocked", "", "The message was classified as spam by the recipient's server."),
    bounce("BadEmailAddress", "invalid", status="rejected"),
    bounce("ManuallyDeactivated", "listed_unknown"),
    bounce("AutoResponder", "", status="sent"),
    bounce("Unsubscribe", "unsubscribed"),
    Told("SpamComplaint", {"RecordType": "SpamComplaint", "Type": "SpamComplaint"}, "complaint"),
    suppressed("HardBounce", "hard_bounce"),
    suppressed("SpamComplaint", "complaint"),
    suppressed("ManualSuppression", "unsubscribed"),
)


def error(code: int, message: str, kind: str, status: int = 422) -> Answered:
    return Answered(f"{status}, ErrorCode {code}: {message}", status, {"ErrorCode": code, "Message": message}, kind)


INACTIVE = (
    "You tried to send to a recipient that has been marked as inactive. Found inactive addresses: ada@example.com. "
    "Inactive recipients are ones that have generated a hard bounce or a spam complaint."
)

ANSWERS = (
    error(10, "Bad or missing server token", "account", 401),
    error(300, "Invalid 'To' address: 'ada@example.com'.", "invalid"),
    error(300, "Error parsing 'To': nobody can say what is wrong", "invalid"),
    error(300, "Invalid 'From' address", "invalid"),
    error(400, "Sender signature not found", "sender"),
    error(401, "Sender signature not confirmed", "sender"),
    error(403, "Incompatible JSON", "invalid"),
    error(405, "Not allowed to send: out of credits", "account"),
    Answered("422, ErrorCode 406: inactive recipient", 422, {"ErrorCode": 406, "Message": INACTIVE}, "listed_unknown"),
    error(412, "Account is pending approval", "account"),
    error(413, "Account may not send", "account"),
    error(405, "Not allowed to send, and yet with status 200", "account", 200),
    error(429, "Rate limit exceeded", "throttled", 429),
    error(1235, "The message stream does not exist", "account"),
    Answered("500", 500, "", "ambiguous"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    usual = {"MessageID": "1", "Metadata": {"attempt_id": str(attempt.pk)}, "BouncedAt": timezone.now().isoformat()}
    recipient = "Recipient" if payload["RecordType"] in ("Delivery", "SubscriptionChange") else "Email"
    return usual | {recipient: attempt.message.address, "ID": attempt.pk.int % 10**9} | payload, {}


POSTMARK = Provider("postmark", "Postmark", {"server_token": "token", "api_url": "{url}/"}, EVENTS, ANSWERS, webhook)
