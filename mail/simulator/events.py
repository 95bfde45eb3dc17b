"""Events in Mailgun's format: "event-data" of webhooks, items of the events API. Pure."""

import secrets
from dataclasses import dataclass

from mail.simulator.forms import Address
from mail.simulator.http import Fields
from mail.simulator.mails import Mail
from mail.simulator.outcomes import Step

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CLIENT: Fields = {
    "client-info": {
        "client-name": "Firefox",
        "client-os": "Linux",
        "client-type": "browser",
        "device-type": "desktop",
        "user-agent": USER_AGENT,
        "bot": "",
    },
    "geolocation": {"country": "US", "region": "CA", "city": "San Francisco"},
    "ip": "203.0.113.7",
}
LOG_LEVELS = {"complained": "warn", "rejected": "warn", "temporary": "warn", "permanent": "error"}


@dataclass(frozen=True, slots=True)
class Event:
    """`visible_at`: when the events API starts to show it."""

    id: str
    at: float
    visible_at: float
    mail: Mail
    recipient: Address
    step: Step
    attempt: int

    @property
    def name(self) -> str:
        return self.step.event


def new_event(
    mail: Mail, recipient: Address, step: Step, at: float, *, attempt: int = 1, index_delay: float = 0
) -> Event:
    """`index_delay`: seconds until the events API shows it."""
    return Event(secrets.token_urlsafe(16), at, at + index_delay, mail, recipient, step, attempt)


def event_data(event: Event) -> dict[str, object]:
    data: dict[str, object] = {
        "id": event.id,
        "timestamp": event.at,
        "event": event.name,
        "log-level": LOG_LEVELS.get(event.step.severity or event.name, "info"),
        "message": _message(event),
        "tags": event.mail.tags,
        "campaigns": [],
        "user-variables": event.mail.variables_for(event.recipient),
        "domain": {"name": event.mail.domain},
        "account": {"id": "5e5d1b1f0000000000000000"},
    }
    if event.name != "rejected":
        data |= {
            "recipient": event.recipient.spec,
            "recipient-domain": event.recipient.domain,
            "recipient-provider": "Other",
        }
    return {**data, **_type_fields(event)}


def _type_fields(event: Event) -> Fields:
    match event.name:
        case "accepted":
            return {**_transport(event), "method": "HTTP", "originating-ip": "198.51.100.20"}
        case "delivered":
            return {**_transport(event), "delivery-status": _delivery_status(event)}
        case "failed":
            severity = {"severity": event.step.severity, "reason": event.step.reason}
            return {**_transport(event), **severity, "delivery-status": _delivery_status(event)}
        case "rejected":
            reject = {"reason": event.step.reason, "description": event.step.description}
            return {"reject": reject, "flags": {"is-test-mode": event.mail.test_mode}, "storage": _storage(event)}
        case "clicked":
            return {**CLIENT, "url": event.step.url}
        case "opened" | "unsubscribed":
            return CLIENT
        case _:
            return {"flags": {"is-test-mode": event.mail.test_mode}}


def _message(event: Event) -> Fields:
    """Shorter for events that a recipient's browser causes, as Mailgun does."""
    mail = event.mail
    if event.name in ("opened", "clicked", "unsubscribed"):
        return {"headers": {"message-id": mail.id}}
    headers = {
        "to": ", ".join(map(str, mail.to)),
        "message-id": mail.id,
        "from": str(mail.sender),
        "subject": mail.subject,
    }
    files = [
        {"filename": file.name, "content-type": file.content_type, "size": len(file.content)} for file in mail.files
    ]
    return {"headers": headers, "attachments": files, "size": mail.size}


def _transport(event: Event) -> Fields:
    flags = {
        "is-routed": False,
        "is-authenticated": True,
        "is-system-test": False,
        "is-test-mode": event.mail.test_mode,
    }
    if event.name == "failed":
        flags["is-delayed-bounce"] = event.step.delayed
    envelope = {
        "transport": "smtp",
        "sender": event.mail.sender.spec,
        "sending-ip": "198.51.100.25",
        "targets": event.recipient.spec,
    }
    return {"flags": flags, "envelope": envelope, "storage": _storage(event)}


def _delivery_status(event: Event) -> Fields:
    step = event.step
    status: dict[str, object] = {
        "attempt-no": event.attempt,
        "code": step.code,
        "message": step.text,
        "description": step.description,
        "mx-host": f"mx.{event.recipient.domain}",
        "session-seconds": 0.25,
        "tls": True,
        "utf8": True,
        "certificate-verified": True,
    }
    if step.enhanced:
        status["enhanced-code"] = step.enhanced
    if step.retry_seconds:
        status["retry-seconds"] = step.retry_seconds
    return status


def _storage(event: Event) -> Fields:
    key = event.mail.id.partition("@")[0]
    return {"key": key, "url": f"https://storage.example.org/v3/domains/{event.mail.domain}/messages/{key}"}
