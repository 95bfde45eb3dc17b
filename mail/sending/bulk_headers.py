"""Header fields of bulk mail besides List-Unsubscribe: List-Id for filters, Feedback-ID for feedback loops."""

from mail.importance import Importance
from mail.models import Message
from mail.providers.accounts import address_domain

SENDER_ID = "legwork"
"""The last part of Feedback-ID, by which Gmail's feedback loop reports complaints: 5 to 15 characters."""


def bulk_headers(message: Message) -> dict[str, str]:
    """List-Id (RFC 2919) and Feedback-ID, each unless its user has set it; none if the mail is not bulk."""
    if message.importance != Importance.BULK:
        return {}
    stream, user, campaign = message.stream or "bulk", message.user_id or 0, str(message.broadcast_id or "single")
    headers = {
        "List-Id": f"<{stream}.{user}.{address_domain(message.sender)}>",
        "Feedback-ID": f"{campaign}:{user}:{stream}:{SENDER_ID}",
    }
    given = {name.lower() for name in message.headers}
    return {name: line for name, line in headers.items() if name.lower() not in given}
