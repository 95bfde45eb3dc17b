"""The errors of this app, apart from failures of delivery (mail.failure)."""

from typing import Any
from uuid import UUID

from mail.failure import Failure


class MailError(Exception):
    """The base of this app's errors."""


class NotSendable(MailError):
    """The message is not pending any more: it was cancelled, accepted by a provider, or has ended."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"message {message_id} is not pending")


class ProviderNotCalled(MailError):
    """The attempt failed before the provider was called, so the provider does not have the message."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class RecipientRefused(MailError):
    """The provider answered the call and refused its only recipient. Has the attributes of Anymail's errors."""

    def __init__(self, esp_name: str, email_message: Any, response: Any) -> None:
        super().__init__(f"{esp_name} has refused the recipient")
        self.esp_name, self.email_message, self.response = esp_name, email_message, response


class AlreadySent(MailError):
    """The message cannot be cancelled: it was sent, is being sent, or has ended."""

    def __init__(self, message_id: UUID, status: str) -> None:
        super().__init__(f"message {message_id} is {status}")


class StillUnderWay(MailError):
    """The message cannot be resent: it has not finished."""

    def __init__(self, message_id: UUID, status: str) -> None:
        super().__init__(f"message {message_id} is still {status}")


class Erased(MailError):
    """The message cannot be resent: its body was erased."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(f"content of message {message_id} has been erased")


class Suppressed(MailError):
    """The recipient is suppressed."""

    def __init__(self, message_id: UUID, reason: str) -> None:
        super().__init__(f"recipient of message {message_id} is on the list of suppressed addresses: {reason}")


class NothingToCancel(MailError):
    """All messages of the broadcast were sent or have ended."""

    def __init__(self, broadcast_id: UUID) -> None:
        super().__init__(f"broadcast {broadcast_id} has nothing left to cancel")


class NotStopped(MailError):
    """Only a stopped broadcast or stream can be resumed."""

    def __init__(self, subject: object) -> None:
        super().__init__(f"{type(subject).__name__.lower()} {subject} is not stopped")
