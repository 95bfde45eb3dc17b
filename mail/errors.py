"""What can go wrong with mail besides its delivery."""

from typing import Any
from uuid import UUID

from mail.failure import Failure


class MailError(Exception):
    """The base of this app's errors."""


class NotSendable(MailError):
    """The message is not waiting to be sent any more: it was cancelled, or has left our hands."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"message {message_id} is not to be sent any more")


class NotCalled(MailError):
    """Something went wrong before the provider was called: it certainly does not have the message."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class NotTaken(MailError):
    """The provider answered the call, and refused its only recipient. The attributes are those of Anymail's errors."""

    def __init__(self, esp_name: str, email_message: Any, response: Any) -> None:
        super().__init__(f"{esp_name} has refused the recipient")
        self.esp_name, self.email_message, self.response = esp_name, email_message, response


class AlreadySent(MailError):
    """The message has been sent, or ended otherwise, so that it cannot be cancelled."""

    def __init__(self, message_id: UUID, status: str) -> None:
        super().__init__(f"message {message_id} is {status}")


class StillUnderWay(MailError):
    """The message has not finished, so that it cannot be sent once more."""

    def __init__(self, message_id: UUID, status: str) -> None:
        super().__init__(f"message {message_id} is still {status}")


class Erased(MailError):
    """The message's body has been erased, so that nobody can send it once more."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"content of message {message_id} has been erased")


class Suppressed(MailError):
    """The recipient is on our list."""

    def __init__(self, message_id: UUID, reason: str) -> None:
        super().__init__(f"recipient of message {message_id} is on the list of suppressed addresses: {reason}")


class NothingToCancel(MailError):
    """All messages of the broadcast have been sent, or ended otherwise."""

    def __init__(self, broadcast_id: UUID) -> None:
        super().__init__(f"broadcast {broadcast_id} has nothing left to cancel")


class NotStopped(MailError):
    """Only what was stopped can be resumed."""

    def __init__(self, subject: object) -> None:
        super().__init__(f"{type(subject).__name__.lower()} {subject} is not stopped")
