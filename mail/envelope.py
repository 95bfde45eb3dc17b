"""A message as Anymail wants it."""

from anymail.message import AnymailMessage

from mail import unsubscribe
from mail.models import Attempt, Message


def sealed(message: Message, attempt: Attempt) -> AnymailMessage:
    """With the ids by which its events will be known again; what its owner noted for himself stays here."""
    mail = AnymailMessage(
        subject=message.subject,
        body=message.text,
        from_email=message.sender,
        to=[message.to],
        reply_to=message.reply_to,
        headers=message.headers | unsubscribe.headers_for(message),
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    for file in message.attachments.all() if getattr(message, "has_files", True) else ():
        mail.attach(file.filename, bytes(file.content), file.content_type)
    mail.tags = message.tags
    mail.metadata = {"attempt_id": str(attempt.pk), "message_id": str(message.pk)}
    return mail
