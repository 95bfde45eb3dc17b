"""The mails that were accepted, for people and tests to look at. The oldest make room, bodies first."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from mail.simulator.mails import Mail

MOST_MAILS = 20_000
MOST_BYTES = 64 * 1024 * 1024
"""Of bodies and attachments together."""


class Mailbox:
    def __init__(self) -> None:
        self._mails: OrderedDict[str, Mail] = OrderedDict()
        self._with_body: deque[Mail] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._mails)

    def __iter__(self) -> Iterator[Mail]:
        """Newest first."""
        return reversed(self._mails.values())

    def get(self, mail_id: str) -> Mail | None:
        return self._mails.get(mail_id)

    def put(self, mail: Mail) -> None:
        self._mails[mail.id] = mail
        self._with_body.append(mail)
        self._bytes += mail.size
        while self._bytes > MOST_BYTES and len(self._with_body) > 1:
            self._forget_oldest()
        if len(self._mails) > MOST_MAILS:
            self._mails.popitem(last=False)
        while len(self._with_body) > MOST_MAILS:
            self._forget_oldest()

    def clear(self) -> None:
        self._mails.clear()
        self._with_body.clear()
        self._bytes = 0

    def _forget_oldest(self) -> None:
        mail = self._with_body.popleft()
        self._bytes -= mail.size
        mail.forget()
