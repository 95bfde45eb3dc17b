"""Builds the AnymailMessage of an attempt."""

from collections.abc import Mapping
from email.mime.image import MIMEImage
from typing import Any

from anymail.message import AnymailMessage

from mail.errors import ProviderNotCalled
from mail.failure import Failure, FailureClass
from mail.models import Attachment, Attempt, Message
from mail.providers.accounts import Account
from mail.sending.bulk_headers import bulk_headers
from mail.unsubscribe import one_click

TRACKS = frozenset(
    {"mailersend", "mailgun", "mailjet", "mandrill", "postmark", "sendgrid", "sparkpost", "test", "unisender_go"}
)
"""Services with tracking options for each message; for others tracking is a setting of the account."""
TEST_MODES: Mapping[str, Mapping[str, Any]] = {
    "mailgun": {"o:testmode": "yes"},
    "sendgrid": {"mail_settings": {"sandbox_mode": {"enable": True}}},
}
"""Options that make a service accept a message and not deliver it."""


def to_anymail(message: Message, attempt: Attempt, account: Account) -> AnymailMessage:
    """Its metadata are our ids, to match its events; the user's own metadata are not sent.

    Raises ProviderNotCalled for test_mode with a service that has none.
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
    if account.esp in TRACKS:  # an option that is not given is left to the account's settings
        for option in ("track_opens", "track_clicks"):
            if (wanted := getattr(message, option)) is not None:
                setattr(mail, option, wanted)
    if message.test_mode:
        if account.esp not in TEST_MODES:
            raise ProviderNotCalled(Failure(FailureClass.INVALID, f"{account.name} has no test mode"))
        mail.esp_extra = dict(TEST_MODES[account.esp])
    return mail


def _attach(mail: AnymailMessage, file: Attachment) -> None:
    if not file.content_id:
        mail.attach(file.filename, bytes(file.content), file.content_type)
        return
    image = MIMEImage(bytes(file.content), file.content_type.partition("/")[2].partition(";")[0])
    image.add_header("Content-Disposition", "inline", filename=file.filename)
    image.add_header("Content-ID", f"<{file.content_id}>")
    mail.attach(image)
