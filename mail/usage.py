"""How many unsent messages each user has, bounded by MAX_UNSENT_MESSAGES and MAX_UNSENT_MESSAGES_TOTAL."""

from collections import Counter

from django.conf import settings
from django.db.models import Count

from mail.models import Message
from mail.status import PENDING
from rest.usage import Usage


def _unsent_by_user() -> Counter[int | None]:
    unsent = Message.objects.unfinished().filter(status__in=PENDING)
    return Counter(dict(unsent.order_by().values_list("user").annotate(number=Count("pk"))))


unsent_messages = Usage(
    "unsent messages",
    _unsent_by_user,
    lambda: settings.MAX_UNSENT_MESSAGES,
    lambda: settings.MAX_UNSENT_MESSAGES_TOTAL,
)
