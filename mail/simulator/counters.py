"""How often each message was posted and accepted, by its sender's metadata: v:message_id and v:attempt_id."""

from collections import Counter
from dataclasses import dataclass, field

MOST_MESSAGES = 500_000


@dataclass(slots=True)
class Account:
    """Of one message: calls about it, mails accepted of it, and the latter by attempt."""

    calls: int = 0
    accepted: int = 0
    attempts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        return {"calls": self.calls, "accepted": self.accepted, "attempts": self.attempts}


class Ledger:
    """Calls that say nothing of a message are counted under the empty name."""

    def __init__(self) -> None:
        self.calls = 0
        self.accepted = 0
        self.accounts: dict[str, Account] = {}

    def called(self, message_id: str) -> None:
        self.calls += 1
        self._account(message_id).calls += 1

    def accept(self, message_id: str, attempt_id: str) -> None:
        self.accepted += 1
        account = self._account(message_id)
        account.accepted += 1
        account.attempts[attempt_id] += 1

    def find(self, message_id: str) -> Account:
        return self.accounts.get(message_id) or Account()

    def clear(self) -> None:
        self.calls = self.accepted = 0
        self.accounts.clear()

    def _account(self, message_id: str) -> Account:
        if len(self.accounts) >= MOST_MESSAGES and message_id not in self.accounts:
            del self.accounts[next(iter(self.accounts))]
        return self.accounts.setdefault(message_id, Account())
