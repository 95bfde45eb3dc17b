"""Mailgun's webhooks of before 2018, form fields and no JSON, brought into the form of today. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mail.mailgun_meaning import mapping

EVENTS = {"dropped": "failed", "bounced": "failed"}
FIELDS = Mapping[str, Sequence[str]]


def parts(fields: FIELDS) -> tuple[dict[str, object], dict[str, object]]:
    """The signature block and the event-data. Our own variables are mixed with Mailgun's fields; Mailgun's signature
    comes last, and everything else of Mailgun's first.
    """
    first = {name: values[0] for name, values in fields.items() if values}
    last = {name: values[-1] for name, values in fields.items() if values}
    return {name: last.get(name) for name in ("timestamp", "token", "signature")}, _event_data(first, last)


def _event_data(first: Mapping[str, str], last: Mapping[str, str]) -> dict[str, object]:
    name = first.get("event", "")
    data: dict[str, Any] = {
        "event": EVENTS.get(name, name),
        "id": last.get("token", ""),
        "timestamp": last.get("timestamp"),
        "recipient": first.get("recipient"),
        "domain": {"name": first.get("domain", "")},
        "message": {"headers": {"message-id": first.get("Message-Id") or first.get("message-id") or ""}},
        "user-variables": {**_variables(first), **{k: v for k, v in last.items() if k == "attempt_id"}},
        "legacy": dict(first),
    }
    if name in EVENTS:
        data |= {"severity": "permanent", "reason": first.get("reason") or ("bounce" if name == "bounced" else "")}
        data["delivery-status"] = {
            "code": first.get("code"),
            "message": first.get("error") or first.get("notification"),
            "description": first.get("description"),
        }
    return data | {"url": first["url"]} if "url" in first else data


def _variables(first: Mapping[str, str]) -> Mapping[str, Any]:
    """From the message's own header fields, [[name, value], …], of the events that have them."""
    try:
        headers = orjson.loads(first.get("message-headers", "[]"))
        found = [value for name, value in headers if name == "X-Mailgun-Variables"]
        return mapping(orjson.loads(found[-1])) if found else {}
    except (ValueError, TypeError):
        return {}
