"""What can go wrong with mail besides its delivery."""

from uuid import UUID


class MailError(Exception):
    """The base of this app's errors."""


class NotSendable(MailError):
    """The message is not waiting to be sent any more: it was cancelled, or has left our hands."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"message {message_id} is not to be sent any more")


class AlreadySent(MailError):
    """The message has been sent, or ended otherwise, so that it cannot be cancelled."""

    def __init__(self, message_id: UUID, status: str) -> None:
        super().__init__(f"message {message_id} is {status}")
