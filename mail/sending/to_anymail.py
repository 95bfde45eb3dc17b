"""A message as Anymail wants it."""

from collections.abc import Mapping
from email.mime.image import MIMEImage
from typing import Any

from anymail.message import AnymailMessage

from mail.errors import NotCalled
from mail.failure import Failure, FailureClass
from mail.models import Attachment, Attempt, Message
from mail.providers.accounts import Account
from mail.sending.bulk_headers import bulk_headers
from mail.unsubscribe import one_click

TRACKS = frozenset(
    {"mailersend", "mailgun", "mailjet", "mandrill", "postmark", "sendgrid", "sparkpost", "test", "unisender_go"}
)
"""Services that can be told for each message what to track; for others it is a setting of the account."""
TEST_MODES: Mapping[str, Mapping[str, Any]] = {
    "mailgun": {"o:testmode": "yes"},
    "sendgrid": {"mail_settings": {"sandbox_mode": {"enable": True}}},
}
"""How services are told to accept a message and not to deliver it."""


def sealed(message: Message, attempt: Attempt, account: Account) -> AnymailMessage:
    """With the ids by which its events will be known again; what its owner noted for himself stays here.

    Raises NotCalled for a test by a service that has no test mode.
    """
    mail = AnymailMessage(
        subject=message.subject,
        body=message.text,
        from_email=message.sender,
        to=[message.to],
        reply_to=message.reply_to,
        headers=message.headers | one_click.headers_for(message) | bulk_headers(message),
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    for file in message.attachments.all() if getattr(message, "has_files", True) else ():
        _attach(mail, file)
    mail.tags = message.tags
    mail.metadata = {"attempt_id": str(attempt.pk), "message_id": str(message.pk)}
    if account.esp in TRACKS:
        _track(mail, message)
    if message.test_mode:
        mail.esp_extra = _test_mode(account)
    return mail


def _attach(mail: AnymailMessage, file: Attachment) -> None:
    if not file.content_id:
        mail.attach(file.filename, bytes(file.content), file.content_type)
        return
    image = MIMEImage(bytes(file.content), file.content_type.partition("/")[2].partition(";")[0])
    image.add_header("Content-Disposition", "inline", filename=file.filename)
    image.add_header("Content-ID", f"<{file.content_id}>")
    mail.attach(image)


def _track(mail: AnymailMessage, message: Message) -> None:
    """What is not said is left to the account's settings."""
    if message.track_opens is not None:
        mail.track_opens = message.track_opens
    if message.track_clicks is not None:
        mail.track_clicks = message.track_clicks


def _test_mode(account: Account) -> dict[str, Any]:
    if account.esp not in TEST_MODES:
        raise NotCalled(Failure(FailureClass.INVALID, f"{account.name} has no test mode"))
    return dict(TEST_MODES[account.esp])
