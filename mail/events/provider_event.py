"""Reads a provider's event, from a webhook or a lookup, into a ProviderEvent with a key that identifies it. Pure.

mail.events.ingest decides whether to believe it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import getaddresses
from typing import Any
from uuid import UUID

import orjson

from mail.addresses.normalize import normalize_address
from mail.events import classify_anymail, classify_mailgun
from mail.events.classify import Classification, mapping
from rest.json_value import clean_text

MAX_DEPTH = 100
"""Nesting levels of an event; Mailgun's have six."""
LATEST_TIMESTAMP = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
MAILGUN = "mailgun"


class NotAnEvent(ValueError):
    """The data can never be read as an event. Its text says why, as a sentence."""


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event as a provider reports it.

    esp: Anymail's name of the service. id: of the event, unique within a day. at: when it happened. id, recipient,
    domain (of the sender), message_id (without brackets): empty if the provider does not say. attempt_id: our own id,
    which the mail carried as metadata, as it did our_message_id. raw: all of it, fit for a JSON column.
    """

    esp: str
    id: str
    classification: Classification
    at: datetime | None
    recipient: str
    domain: str
    attempt_id: UUID | None
    message_id: str
    raw: dict[str, Any]
    our_message_id: UUID | None = None

    @property
    def key(self) -> str:
        """The same for a repeated webhook, and for a lookup that finds the same event.

        Where the service gives no id (Anymail 15.2: Brevo, Mailjet, Postmark), that of the attempt or mail replaces it.
        """
        second = int(self.at.timestamp()) if self.at else None
        own_id = self.id or str(self.attempt_id or self.message_id)
        return _digest([self.esp, own_id, self.raw.get("event"), normalize_address(self.recipient), second])

    @property
    def provider_message_id(self) -> str:
        """With brackets, as the provider's API returns it and Attempt stores it."""
        return bracketed(self.message_id)

    @property
    def disregarded_key(self) -> str:
        """A disregarded event must not occupy the key of a real one."""
        return _digest([self.esp, "disregarded", self.raw])


def bracketed(message_id: str) -> str:
    return f"<{message_id}>"[:255] if message_id else ""


def message_id_of(raw: Mapping[str, Any]) -> str:
    """The message id in an event of Mailgun's, without brackets; empty if it has none."""
    headers = mapping(mapping(raw.get("message")).get("headers"))
    return _text(headers.get("message-id")).strip("<>")


def from_mailgun(data: object) -> ProviderEvent:
    """data: a webhook's "event-data", or an item of the events API. Raises NotAnEvent."""
    raw = storable(data)
    if not isinstance(raw, dict):
        raise NotAnEvent("The event is not an object.")
    if not isinstance(raw.get("event"), str) or not 0 < len(raw["event"]) <= 50:
        raise NotAnEvent("The event has no name, or a name of more than 50 characters.")
    variables, headers = _variables(raw.get("user-variables")), mapping(mapping(raw.get("message")).get("headers"))
    return ProviderEvent(
        esp=MAILGUN,
        id=_text(raw.get("id")),
        classification=classify_mailgun.classify(raw),
        at=_time(raw.get("timestamp")),
        recipient=_recipient(raw, headers),
        domain=_text(mapping(raw.get("domain")).get("name")) or _text(raw.get("domain")),
        attempt_id=_uuid(variables.get("attempt_id")),
        message_id=message_id_of(raw),
        raw=raw,
        our_message_id=_uuid(variables.get("message_id")),
    )


def from_anymail(event: Any, esp: str) -> ProviderEvent:
    """event: an AnymailTrackingEvent. Raises NotAnEvent."""
    raw = storable(
        {
            "event": str(event.event_type),
            "id": event.event_id,
            "reject_reason": event.reject_reason,
            "description": event.description,
            "mta_response": event.mta_response,
            "esp_event": _fields(event.esp_event),
        }
    )
    return ProviderEvent(
        esp=esp,
        id=_text(event.event_id),
        classification=classify_anymail.classify(event, esp),
        at=event.timestamp,
        recipient=_text(event.recipient),
        domain="",
        attempt_id=_uuid(mapping(event.metadata).get("attempt_id")),
        message_id=_text(event.message_id).strip("<>"),
        raw=raw,
        our_message_id=_uuid(mapping(event.metadata).get("message_id")),
    )


def storable(value: object, levels: int = MAX_DEPTH) -> Any:
    """The value as a JSON column and a JSON answer can hold it. Raises NotAnEvent if it is nested too deeply."""
    if not levels:
        raise NotAnEvent(f"The event is nested deeper than {MAX_DEPTH} levels.")
    match value:
        case Mapping():
            return {clean_text(str(name)): storable(inner, levels - 1) for name, inner in value.items()}
        case list() | tuple():
            return [storable(inner, levels - 1) for inner in value]
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if math.isfinite(value) else None
    return clean_text(str(value))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _fields(value: Any) -> object:
    """A form, which Anymail passes on as a QueryDict, as lists of texts by field."""
    return dict(value.lists()) if hasattr(value, "lists") else value


def _variables(value: object) -> Mapping[str, Any]:
    """The metadata that we sent with the message; sometimes it comes as the text of a JSON object."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return mapping(value)


def _recipient(raw: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """The event's recipient, or that of the message: a rejection names none."""
    given = raw.get("recipient")
    if given is not None and not isinstance(given, str):
        raise NotAnEvent("The event's recipient is not a string.")
    return given or next((spec for _, spec in getaddresses([_text(headers.get("to"))])), "")


def _time(value: object) -> datetime | None:
    """value: seconds since 1970, as a number or a string; None stays None. Raises NotAnEvent for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < LATEST_TIMESTAMP:
        raise NotAnEvent("The event's timestamp is not a time.")
    return datetime.fromtimestamp(seconds, UTC)


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(_text(value))
    except ValueError:
        return None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""
