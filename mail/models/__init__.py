"""Messages, their attempts and events, suppressions, and the state of providers."""

from mail.models.attempt import Attempt
from mail.models.event import Event, WebhookToken
from mail.models.figure import MessageFigure
from mail.models.message import Attachment, Message
from mail.models.provider import Alert, DomainBlock, EventLogPosition, Provider, RefusedSender, Slowdown
from mail.models.rate import RateBucket
from mail.models.stream import Stream, StreamSuppression
from mail.models.suppression import Lift, Strike, Suppression
from mail.models.template import Broadcast, Template

__all__ = [
    "Alert",
    "Attachment",
    "Attempt",
    "Broadcast",
    "DomainBlock",
    "Event",
    "EventLogPosition",
    "Lift",
    "Message",
    "MessageFigure",
    "Provider",
    "RateBucket",
    "RefusedSender",
    "Slowdown",
    "Stream",
    "StreamSuppression",
    "Strike",
    "Suppression",
    "Template",
    "WebhookToken",
]
