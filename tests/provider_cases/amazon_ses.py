"""Amazon SES: notifications of SNS, and the errors of SESv2."""

import json
from typing import Any

from django.utils import timezone

from tests.provider_cases import DOMAIN, Answered, Provider, Told


def bounce(sort: str, detail: str, kind: str, code: str = "", reply: str = "") -> Told:
    recipient = {"action": "failed", "status": code, "diagnosticCode": reply} if reply else {}
    event = {"bounceType": sort, "bounceSubType": detail, "bouncedRecipients": [recipient]}
    said = f"Bounce {sort}/{detail}" + (f", {reply}" if reply else "")
    return Told(said, {"notificationType": "Bounce", "bounce": event}, kind)


def complaint(said: str, kind: str, status: str = "", **fields: Any) -> Told:
    return Told(said, {"notificationType": "Complaint", "complaint": fields}, kind, status)


EVENTS = (
    Told("Delivery", {"notificationType": "Delivery", "delivery": {"smtpResponse": "250 OK"}}, "", "delivered"),
    Told(
        "DeliveryDelay", {"eventType": "DeliveryDelay", "deliveryDelay": {"delayType": "MailboxFull"}}, "", "deferred"
    ),
    bounce("Permanent", "General", "hard_bounce", "5.1.1", "smtp; 550 5.1.1 User unknown"),
    bounce("Permanent", "NoEmail", "hard_bounce"),
    bounce("Permanent", "General", "soft_bounce", "4.4.7", "smtp; 421 4.4.2 Connection timed out"),
    bounce("Permanent", "General", "blocked", "5.7.1", "smtp; 550 5.7.1 Blocked using a block list"),
    bounce("Permanent", "Suppressed", "listed_bounce", "5.1.1", "Amazon SES has suppressed sending to this address"),
    bounce("Permanent", "OnAccountSuppressionList", "listed_unknown", "5.1.1", "Amazon SES did not send the message"),
    bounce("Transient", "General", "soft_bounce", "4.0.0", "smtp; 450 4.2.1 try later"),
    bounce("Transient", "General", "soft_bounce"),  # an out-of-office reply has only these fields
    bounce("Transient", "General", "soft_bounce", "5.1.1", "smtp; 550 5.1.1 they call it transient"),
    bounce("Transient", "MailboxFull", "mailbox_full", "5.2.2", "smtp; 552 5.2.2 mailbox full"),
    bounce("Transient", "ContentRejected", "blocked", "5.7.1", "smtp; 554 5.7.1 content rejected"),
    Told(
        "Bounce Transient/MessageTooLarge",
        {
            "notificationType": "Bounce",
            "bounce": {"bounceType": "Transient", "bounceSubType": "MessageTooLarge", "bouncedRecipients": [{}]},
        },
        "invalid",
        "bounced",
    ),
    bounce("Undetermined", "Undetermined", "soft_bounce"),
    complaint("Complaint abuse", "complaint", complaintFeedbackType="abuse"),
    complaint("Complaint OnAccountSuppressionList", "listed_complaint", complaintSubType="OnAccountSuppressionList"),
    complaint("Complaint not-spam", "", "sent", complaintFeedbackType="not-spam"),
    Told(
        "Rendering Failure",
        {"eventType": "Rendering Failure", "failure": {"errorMessage": "Attribute 'name' is not present"}},
        "rejected",
    ),
    Told("Reject: Bad content", {"notificationType": "Reject", "reject": {"reason": "Bad content"}}, "rejected"),
)


def error(code: str, message: str, kind: str, status: int = 400) -> Answered:
    return Answered(f"{status} {code}: {message}", status, {"message": message}, kind, {"x-amzn-errortype": code})


ANSWERS = (
    error("AccountSuspendedException", "sending is permanently restricted", "account"),
    error("SendingPausedException", "sending is paused", "account"),
    error("LimitExceededException", "limit exceeded", "account"),
    error("MailFromDomainNotVerifiedException", "the sending domain is not verified", "sender"),
    error("NotFoundException", "configuration set does not exist", "account", 404),
    error("UnrecognizedClientException", "the security token is invalid", "account", 403),
    error("MessageRejected", f"Email address is not verified: l@{DOMAIN}", "sender"),
    error("MessageRejected", "Email address is not verified: ada@example.com", "not_permitted"),
    error("MessageRejected", "contains a virus", "invalid"),
    error("BadRequestException", "invalid input", "invalid"),
    error("TooManyRequestsException", "Maximum sending rate exceeded", "throttled", 429),
    error("InternalFailure", "internal failure", "ambiguous", 500),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    address = attempt.message.address
    headers = [{"name": "X-Metadata", "value": json.dumps({"attempt_id": str(attempt.pk)})}]
    event = {"mail": {"messageId": "1", "destination": [address], "headers": headers}} | json.loads(json.dumps(payload))
    for name, recipients in (("bounce", "bouncedRecipients"), ("complaint", "complainedRecipients")):
        if name in event:
            told = event[name].get(recipients) or [{}]
            event[name][recipients] = [{"emailAddress": address, **recipient} for recipient in told]
    if "delivery" in event:
        event["delivery"]["recipients"] = [address]
    message_id = f"sns-{attempt.pk}"
    body = {"Type": "Notification", "MessageId": message_id, "Message": json.dumps(event)}
    body["Timestamp"] = timezone.now().isoformat()
    return body, {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": message_id}


CLIENT = {
    "endpoint_url": "{url}",
    "region_name": "eu-west-1",
    "aws_access_key_id": "id",
    "aws_secret_access_key": "secret",
}
AMAZON_SES = Provider("amazon_ses", "Amazon SES", {"client_params": CLIENT}, EVENTS, ANSWERS, webhook)
