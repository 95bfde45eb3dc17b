"""Posts messages and the broadcast as a client does; without an answer again, with the same Idempotency-Key."""

from collections.abc import Iterator, Sequence
from typing import Any

import requests

from tests.mail_chaos.plan import Planned
from tests.support.stack import Client

BATCH = 100
"""Messages of one request."""
TEMPLATE = "news"


class Posts:
    """What is still to be posted. The broadcast comes in the middle."""

    def __init__(self, client: Client, messages: Sequence[Planned]) -> None:
        self._client = client
        self._left = _requests(messages)
        self._next = next(self._left, None)
        self._number = 0
        self.repeated = 0

    def post_one(self) -> bool:
        """Post the next request; False when there are no more."""
        if self._next is None:
            return False
        method, path, body = self._next
        try:
            answer = self._client.request(
                method, path, json=body, headers={"Idempotency-Key": f"request-{self._number}"}
            )
        except requests.RequestException:
            self.repeated += 1
            return True
        if answer.status_code >= 500:
            self.repeated += 1
            return True
        answer.raise_for_status()
        if answer.json().get("refused"):
            raise ValueError(f"A message was refused: {answer.text[:500]}")
        self._next, self._number = next(self._left, None), self._number + 1
        return self._next is not None


Request = tuple[str, str, dict[str, Any]]


def _requests(messages: Sequence[Planned]) -> Iterator[Request]:
    alone = [message for message in messages if not message.in_broadcast]
    batches = [alone[start : start + BATCH] for start in range(0, len(alone), BATCH)]
    middle = len(batches) // 2
    yield from map(_batch, batches[:middle])
    yield from _broadcast([message for message in messages if message.in_broadcast])
    yield from map(_batch, batches[middle:])


def _batch(messages: Sequence[Planned]) -> Request:
    items = [
        {"to": message.address, "importance": message.importance, "subject": message.outcome, "text": "Hello"}
        for message in messages
    ]
    return "POST", "mail/messages/batch/", {"messages": items}


def _broadcast(messages: Sequence[Planned]) -> Iterator[Request]:
    template = {"subject": "News", "text": "Dear {{ name }}, {{ unsubscribe_url }}"}
    yield "PUT", f"mail/templates/{TEMPLATE}/", template
    recipients = [{"to": message.address, "context": {"name": message.outcome}} for message in messages]
    yield "POST", "mail/broadcasts/", {"template": TEMPLATE, "recipients": recipients}
