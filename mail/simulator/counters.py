"""Counts of calls and accepted mails by message, which clients name in v:message_id and v:attempt_id."""

from collections import Counter
from dataclasses import dataclass, field

MAX_MESSAGES = 500_000


@dataclass(slots=True)
class MessageCounts:
    """calls: about this message. accepted: mails of it; attempts: the same by attempt."""

    calls: int = 0
    accepted: int = 0
    attempts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        return {"calls": self.calls, "accepted": self.accepted, "attempts": self.attempts}


class Counters:
    """Calls without v:message_id are counted under the empty name."""

    def __init__(self) -> None:
        self.calls = 0
        self.accepted = 0
        self.messages: dict[str, MessageCounts] = {}

    def count_call(self, message_id: str) -> None:
        self.calls += 1
        self._counts(message_id).calls += 1

    def count_accepted(self, message_id: str, attempt_id: str) -> None:
        self.accepted += 1
        counts = self._counts(message_id)
        counts.accepted += 1
        counts.attempts[attempt_id] += 1

    def find(self, message_id: str) -> MessageCounts:
        return self.messages.get(message_id) or MessageCounts()

    def clear(self) -> None:
        self.calls = self.accepted = 0
        self.messages.clear()

    def _counts(self, message_id: str) -> MessageCounts:
        if len(self.messages) >= MAX_MESSAGES and message_id not in self.messages:
            del self.messages[next(iter(self.messages))]
        return self.messages.setdefault(message_id, MessageCounts())
