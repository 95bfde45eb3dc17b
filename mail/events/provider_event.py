"""A provider's event on its way in: read, cleaned, and known again when it comes twice. Pure.

A webhook or a look-up gives Report; mail.events.ingest decides whether to believe it.
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
from mail.events.classify import Meaning
from mail.events.classify_mailgun import mapping
from rest.json_value import plain_text

DEPTH = 100
"""Levels that an event may be nested; Mailgun's have six."""
LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
MAILGUN = "mailgun"


class NotAnEvent(ValueError):
    """What was sent can never be understood. Says why, as a sentence."""


@dataclass(frozen=True, slots=True)
class Report:
    """One event as a provider tells it.

    esp: Anymail's name of the provider's service. id: of the event, unique within a day. at: when it happened.
    recipient, domain (from which it was sent), message_id (without brackets): empty where the provider does not say.
    attempt_id: which of our attempts it is about, as we told the provider. raw: all of it, fit to be stored.
    """

    esp: str
    id: str
    meaning: Meaning
    at: datetime | None
    recipient: str
    domain: str
    attempt_id: UUID | None
    message_id: str
    raw: dict[str, Any]

    @property
    def key(self) -> str:
        """The same for a webhook that comes again and for a look-up that finds what a webhook has told."""
        second = int(self.at.timestamp()) if self.at else None
        return digest([self.esp, self.id, self.raw.get("event"), normalize_address(self.recipient), second])

    @property
    def provider_message_id(self) -> str:
        """As the provider's API answers it and Attempt keeps it: with brackets."""
        return bracketed(self.message_id)

    @property
    def disregarded_key(self) -> str:
        """An event that is not believed must not take the key of one that is."""
        return digest([self.esp, "disregarded", self.raw])


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def bracketed(message_id: str) -> str:
    return f"<{message_id}>"[:255] if message_id else ""


def message_id_of(raw: Mapping[str, Any]) -> str:
    """Of an event as Mailgun writes it, without brackets; empty where it says none."""
    headers = mapping(mapping(raw.get("message")).get("headers"))
    return _text(headers.get("message-id")).strip("<>")


def of_mailgun(data: object) -> Report:
    """From a webhook's "event-data", or an item of the events API. Raises NotAnEvent."""
    raw = storable(data)
    if not isinstance(raw, dict):
        raise NotAnEvent("The event is not an object.")
    if not isinstance(raw.get("event"), str) or not 0 < len(raw["event"]) <= 50:
        raise NotAnEvent("The event does not say what kind it is of.")
    variables, headers = _variables(raw.get("user-variables")), mapping(mapping(raw.get("message")).get("headers"))
    return Report(
        esp=MAILGUN,
        id=_text(raw.get("id")),
        meaning=classify_mailgun.meaning(raw),
        at=_time(raw.get("timestamp")),
        recipient=_recipient(raw, headers),
        domain=_text(mapping(raw.get("domain")).get("name")) or _text(raw.get("domain")),
        attempt_id=_uuid(variables.get("attempt_id")),
        message_id=message_id_of(raw),
        raw=raw,
    )


def of_anymail(event: Any, esp: str) -> Report:
    """From an AnymailTrackingEvent of a provider. Raises NotAnEvent."""
    raw = storable(
        {
            "event": str(event.event_type),
            "id": event.event_id,
            "reject_reason": event.reject_reason,
            "description": event.description,
            "mta_response": event.mta_response,
            "esp_event": _plain(event.esp_event),
        }
    )
    return Report(
        esp=esp,
        id=_text(event.event_id),
        meaning=classify_anymail.meaning(event, esp),
        at=event.timestamp,
        recipient=_text(event.recipient),
        domain="",
        attempt_id=_uuid(mapping(event.metadata).get("attempt_id")),
        message_id=_text(event.message_id).strip("<>"),
        raw=raw,
    )


def storable(value: object, levels: int = DEPTH) -> Any:
    """As a JSON column and a JSON answer can have it. Raises NotAnEvent for what is nested too deeply."""
    if not levels:
        raise NotAnEvent(f"The event is nested deeper than {DEPTH} levels.")
    match value:
        case Mapping():
            return {plain_text(str(name)): storable(inner, levels - 1) for name, inner in value.items()}
        case list() | tuple():
            return [storable(inner, levels - 1) for inner in value]
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if math.isfinite(value) else None
    return plain_text(str(value))


def _plain(value: Any) -> object:
    """A form's fields, which Anymail hands on as a QueryDict: the texts of each."""
    return dict(value.lists()) if hasattr(value, "lists") else value


def _variables(value: object) -> Mapping[str, Any]:
    """What we sent along with the message; now and then it comes as the text of a JSON object."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return mapping(value)


def _recipient(raw: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """A rejected message's event has no recipient, but the message has."""
    given = raw.get("recipient")
    if given is not None and not isinstance(given, str):
        raise NotAnEvent("The event's recipient is not a text.")
    return given or next((spec for _, spec in getaddresses([_text(headers.get("to"))])), "")


def _time(value: object) -> datetime | None:
    """Seconds since 1970, as a number or a text; a time that cannot be is not believed to be one."""
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < LATEST:
        raise NotAnEvent("The event's timestamp is not a time.")
    return datetime.fromtimestamp(seconds, UTC)


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(_text(value))
    except ValueError:
        return None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""
