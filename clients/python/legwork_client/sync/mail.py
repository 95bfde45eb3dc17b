"""mail/messages/ and mail/broadcasts/: send, follow, cancel, send again."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from legwork_client.references import given, path_of, portions
from legwork_client.sync.connection import Connection
from legwork_client.sync.watch import Watch
from legwork_client.types import BatchResult, Job, Message

BATCH = 500
"""Messages in one request."""

MessageRef = Message | str
"""A message, its id, or its URL."""


class Mail:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(
        self, to: str, subject: str | None = None, *, idempotency_key: str | None = None, **fields: Any
    ) -> Message:
        """The accepted message. fields: text, html, template, context, importance, send_at and the API's others."""
        body = given(to=to, subject=subject, **fields)
        message: Message = (self._connection.create("mail/messages/", body, idempotency_key)).json()
        return message

    def send_many(self, messages: Sequence[dict[str, Any]], *, idempotency_key: str | None = None) -> list[BatchResult]:
        """One result per message, in their order: `id` and `url` if it was accepted, else `errors`."""
        results: list[BatchResult] = []
        key = idempotency_key or str(uuid.uuid4())
        for number, portion in enumerate(portions(messages, BATCH)):
            body = {"messages": [given(**message) for message in portion]}
            response = self._connection.create("mail/messages/batch/", body, f"{key}-{number}")
            results += response.json()["results"]
        return results

    def broadcast(
        self, template: str, recipients: Sequence[dict[str, Any]], *, idempotency_key: str | None = None, **fields: Any
    ) -> Job:
        """One template to many: the job that makes the messages. recipients: `{"to": …, "context": {…}}` each."""
        body = given(template=template, recipients=recipients, **fields)
        job: Job = (self._connection.create("mail/broadcasts/", body, idempotency_key)).json()
        return job

    def get(self, message: MessageRef) -> Message:
        """With its timeline."""
        found: Message = (self._connection.get(path_of("mail/messages", message))).json()
        return found

    def find(self, **filters: Any) -> Iterator[Message]:
        """Newest first, over all pages. filters: status, to, tag, importance, broadcast, created_after, …"""
        return self._connection.pages("mail/messages/", given(**filters))

    def changes(self, message: MessageRef, *, within: float | None = None) -> Iterator[Message]:
        """The message whenever it has changed, until it has finished. within: seconds, then WaitTimeout is raised."""
        return self._watch(message, within).states()

    def wait(self, message: MessageRef, *, within: float | None = None) -> Message:
        """The finished message: delivered, bounced, rejected, …"""
        finished: Message = self._watch(message, within).final()
        return finished

    def cancel(self, message: MessageRef) -> Message:
        """Before it is sent; raises Conflict afterwards."""
        path = f"{path_of('mail/messages', message)}cancellation/"
        cancelled: Message = (self._connection.request("POST", path, repeatable=True)).json()
        return cancelled

    def resend(self, message: MessageRef, *, idempotency_key: str | None = None) -> Message:
        """A new message like a finished one. Raises Conflict while it is under way, Unprocessable if suppressed."""
        path = f"{path_of('mail/messages', message)}resends/"
        new: Message = (self._connection.create(path, None, idempotency_key)).json()
        return new

    def _watch(self, message: MessageRef, within: float | None) -> Watch:
        return Watch(self._connection, path_of("mail/messages", message), None, within)
